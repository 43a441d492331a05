# Types in C for observe.py, where it is compiled (setup.py).

from extproc.answers.answer_reader cimport AnswerReader as Reader

cimport cython

@cython.final
cdef class ObserveStream:
    cdef public bint _accounted, _done, _goes_on
    cdef public double _end_share, _last_event
    cdef public Py_ssize_t _received
    cdef public str _caller, _code, _picked, _request_id, _served, _traceparent
    cdef public object _first_token, _last_token, _metadata, _metric_values, _session, _snapshot, _started
    cdef public Reader _reader

    cpdef tuple receive(self, object event, double now)
    cpdef tuple _on_headers(self, object event, double now)

    @cython.locals(reader=Reader)
    cpdef tuple _on_body(self, object event, double now)

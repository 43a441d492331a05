# Types in C for sse.py, where it is compiled (setup.py).

cimport cython

@cython.final
cdef class SseEvents:
    cdef public object _allowance, _data, _line
    cdef public bytes _event, _event_before
    cdef public bint _begun, _between_events, _lone_cr, _no_blank_lines, _whole
    cdef public list _more
    cdef public Py_ssize_t _size

    cpdef list feed(self, object data)

@cython.locals(last=Py_ssize_t)
cdef bint _is_one_event(object data) except -1

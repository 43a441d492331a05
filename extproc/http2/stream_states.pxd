# Types in C for stream_states.py, where it is compiled (setup.py).

cimport cython
from extproc.http2.stream cimport ConnectionSender

cdef class StreamStates(ConnectionSender):
    cdef public double now
    cdef public Py_ssize_t last_stream_id, streams_opened, window_granted
    cdef public object _floods, _order_of_ends
    cdef public dict streams
    cdef public set _ended

    cpdef charge(self, object limit, Py_ssize_t cost=*)
    cpdef check_opened(self, Py_ssize_t number)
    @cython.locals(ended=set)
    cpdef remember_ended(self, Py_ssize_t number)

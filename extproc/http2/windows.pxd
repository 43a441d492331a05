# Types in C for windows.py, where it is compiled (setup.py).

from extproc.http2.stream cimport Stream
from extproc.http2.stream_states cimport StreamStates

cdef class FlowControl(StreamStates):
    cdef public bint unfinished
    cdef public Py_ssize_t uncredited, withheld
    cdef public dict _deferred

    cpdef reset_stream(self, Stream stream, int code)
    cpdef sent(self, Py_ssize_t size)
    cpdef defer(self, Stream stream)
    cpdef resume_deferred(self)
    cpdef flush_waiting(self)
    cpdef withhold(self, Py_ssize_t size, Stream stream)
    cpdef release(self, Stream stream)
    cpdef credit(self, Py_ssize_t size, Stream stream=*)

# Types in C for http2.py, where it is compiled (setup.py).

cimport cython
from extproc.engine.control cimport Control
from extproc.engine.flow cimport Stream

cdef class Connection(Control):
    cdef public object begun, failed, _accept, _heads, _buffer, _block
    cdef public dict _over

    @cython.locals(size=Py_ssize_t, streams=dict, stream=Stream, start=Py_ssize_t, length=Py_ssize_t, handlers=dict)
    cpdef Py_ssize_t _read(self, bytes data, Py_ssize_t at) except -1

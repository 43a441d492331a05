# Types in C for control.py, where it is compiled (setup.py).

from extproc.http2.stream cimport ConnectionOutput, Stream

cdef class ConnectionControl(ConnectionOutput):
    cdef public bint awaited
    cdef public Py_ssize_t allowed, kept, last, owed, patience
    cdef public dict streams

    cpdef bytes take(self)
    cpdef sent(self, Py_ssize_t size)
    cpdef release(self, Stream stream)
    cpdef keep(self, Py_ssize_t size, Stream stream)
    cpdef credit(self, Py_ssize_t size, Stream stream=*)
    cpdef break_off(self, Stream stream, int code)
    cpdef check_opened(self, Py_ssize_t number)
    cpdef _flush(self)

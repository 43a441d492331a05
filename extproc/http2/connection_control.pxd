# Types in C for control.py, where it is compiled (setup.py).

cimport cython
from extproc.http2.stream cimport ConnectionOutput, Stream

cdef class ConnectionControl(ConnectionOutput):
    cdef public bint awaited, behind
    cdef public double now
    cdef public Py_ssize_t allowed, granted, kept, last, opened, owed, resets
    cdef public dict streams, _allowances, _over, _parked

    cpdef bytes take(self)
    cpdef sent(self, Py_ssize_t size)
    cpdef spend(self, object rate, Py_ssize_t cost=*)
    cpdef park(self, Stream stream)
    cpdef release(self, Stream stream)
    cpdef keep(self, Py_ssize_t size, Stream stream)
    cpdef credit(self, Py_ssize_t size, Stream stream=*)
    cpdef break_off(self, Stream stream, int code)
    cpdef check_opened(self, Py_ssize_t number)
    @cython.locals(over=dict)
    cpdef _remember(self, Py_ssize_t number)
    cpdef _flush(self)
    cpdef _resume(self)

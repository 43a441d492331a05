# Types in C for decoder.py, where it is compiled (setup.py).

cimport cython

@cython.final
cdef class Allowance:
    cdef public Py_ssize_t _bytes_each, _capacity, _left, _piece, taken

    cpdef take(self, Py_ssize_t size, Py_ssize_t count)

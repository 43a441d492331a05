# Types in C for change_test.py, where it is compiled (setup.py).

cimport cython

@cython.final
cdef class ChangeTest:
    cdef double _bad, _good, _threshold, _score

    cpdef bint note(self, bint bad) except -1
    cpdef clear(self)

# Types in C for histogram.py, where it is compiled (setup.py).

cimport cython

@cython.locals(at=Py_ssize_t, bound=double)
cdef Py_ssize_t bucket_of(tuple bounds, double value) except -1

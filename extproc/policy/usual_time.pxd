# Types in C for usual_time.py, where it is compiled (setup.py).

cimport cython

@cython.final
cdef class UsualTime:
    cdef readonly object seconds
    cdef readonly double late_after
    cdef double _since
    cdef list _block

    cpdef begin_block(self)
    @cython.locals(times=list, wanted=Py_ssize_t)
    cpdef learn(self, double seconds, double now, bint slowest)

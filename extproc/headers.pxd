# Types in C for headers.py, where it is compiled (setup.py).

cimport cython

@cython.final
cdef class Headers:
    cdef public dict _first
    cdef public tuple _pairs

    cpdef get(self, str name)

    @cython.locals(value=bytes)
    cpdef str text(self, str name)
    cpdef list all(self, str name)
    cpdef bint has_none_of(self, frozenset names) except -1

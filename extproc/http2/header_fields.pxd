# Types in C for header_fields.py, where it is compiled (setup.py).

cimport cython

@cython.final
cdef class Field:
    cdef public bytes name, value
    cdef public int kinds, not_after
    cdef public Py_ssize_t size

@cython.locals(field=Field, kinds=int)
cpdef int kinds_of(object fields) except -1

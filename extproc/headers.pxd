# Types in C for headers.py, where it is compiled (setup.py).

cdef class Headers:
    cdef public dict _first
    cdef public tuple _pairs

# Types in C for body.py, where it is compiled (setup.py).

cdef class Body:
    cdef public object _headers, _length, _limit, _needed, _size, _unpacked
    cdef public list _chunks, sizes

# Types in C for codec.py, where it is compiled (setup.py).

cimport cython
from extproc.envoy.canonical cimport parse as parse_canonical

cdef int REQUEST_BODY, REQUEST_HEADERS, RESPONSE_BODY

cdef class _Filter:
    cdef bint observing
    cdef object protocol
    cdef str peer, served

@cython.locals(tag=int, filter_=_Filter)
cpdef tuple decode(bytes data)

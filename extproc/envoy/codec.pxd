# Types in C for codec.py, where it is compiled (setup.py).

cimport cython
from extproc.envoy.canonical cimport parse as parse_canonical

cdef int REQUEST_BODY, REQUEST_HEADERS, RESPONSE_BODY

@cython.locals(tag=int)
cpdef tuple decode(bytes data)

# Types in C for codec.py, where it is compiled (setup.py).

cimport cython

cdef int REQUEST_BODY, REQUEST_HEADERS, RESPONSE_BODY

@cython.locals(tag=int)
cpdef tuple decode(bytes data)

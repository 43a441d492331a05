# Types in C for path_pattern.py, where it is compiled (setup.py).

from extproc.bodies.request cimport Operation
from extproc.headers cimport Headers

cdef class Match:
    cdef readonly str header
    cdef object _operation
    cdef tuple _fixed

    cpdef Operation operation(self, Headers headers)

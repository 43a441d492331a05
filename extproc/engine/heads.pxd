# Types in C for heads.py, where it is compiled (setup.py).

cdef class Head:
    cdef public bint malformed, trails
    cdef public bytes method, path, type
    cdef public object _fields, length

cdef class Heads:
    cdef public object _unpacker
    cdef public dict _remembered

    cpdef Head read(self, bytes block)

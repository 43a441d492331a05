# Types in C for heads.py, where it is compiled (setup.py).

cdef class RequestHead:
    cdef public bint malformed, trails
    cdef public bytes method, path, type
    cdef public object fields, length

cdef class HeaderBlockReader:
    cdef public object _unpacker
    cdef public dict _remembered

    cpdef RequestHead read(self, bytes block)

# Types in C for heads.py, where it is compiled (setup.py).

cdef class RequestHead:
    cdef public bint malformed, trails
    cdef public bytes method, path, type
    cdef public object fields, length

cdef class HeaderBlockReader:
    cdef public object _ledger, _unpacker
    cdef public dict _remembered
    cdef public Py_ssize_t _size

    cpdef RequestHead read(self, bytes block)
    cpdef forget(self)

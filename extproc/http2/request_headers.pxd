# Types in C for request_headers.py, where it is compiled (setup.py).

cimport cython

@cython.final
cdef class RequestHead:
    cdef public bint malformed, may_be_trailers
    cdef public bytes content_type, method, path
    cdef public object content_length, fields

@cython.final
cdef class HeaderBlockReader:
    cdef public object _budget, _decoder
    cdef public dict _cache
    cdef public Py_ssize_t work, _cached_bytes

    cpdef RequestHead read(self, bytes block)
    cpdef clear(self)

# Types in C for request_body.py, where it is compiled (setup.py).

from extproc.bodies.request cimport Operation
from extproc.headers cimport Headers

cdef class Body:
    cdef public Headers _headers
    cdef public Py_ssize_t _limit, _needed, _size
    cdef public object _length
    cdef public bytes _unpacked
    cdef public list _chunks, sizes

    cpdef add(self, bytes data)

cpdef Py_ssize_t bytes_needed(Operation operation, object snapshot) except -1
cpdef object body_key(object snapshot, object model, bytes body)

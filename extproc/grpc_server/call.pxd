# Types in C for call.py, where it is compiled (setup.py).

from extproc.http2.stream cimport Stream
from extproc.http2.request_headers cimport RequestHead

cimport cython

cdef int _BUSY, _PREFIX

cdef class Service:
    cdef public object factories, post, pulse

cdef class Call(Stream):
    cdef public bint _begun, _parked
    cdef public Py_ssize_t _held
    cdef public bytearray _buffer
    cdef public RequestHead _head
    cdef public object _handler
    cdef public Service _service

    @cython.locals(head=RequestHead)
    cpdef begin(self)

    @cython.locals(whole=bint)
    cpdef data(self, bytes piece)

    cpdef ended(self)
    cpdef drained(self)
    cpdef lost(self)
    cpdef _read(self)
    cpdef _weigh(self)
    cpdef _take(self, bytes message)
    cpdef _send(self, object replies, bytes tail=*)
    cpdef _close(self)

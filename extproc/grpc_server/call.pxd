# Types in C for call.py, where it is compiled (setup.py).

from extproc.http2.stream cimport Stream
from extproc.http2.request_headers cimport RequestHead

cimport cython

cdef int PREFIX_SIZE, _MESSAGE_WORK

cdef class CallServices:
    cdef public object call_later, loop_lag, post
    cdef public dict factories

cdef class Call(Stream):
    cdef public bint _deferred, _headers_sent
    cdef public Py_ssize_t _counted
    cdef public bytearray _buffer
    cdef public RequestHead _head
    cdef public object _handler
    cdef public CallServices _services

    @cython.locals(head=RequestHead)
    cpdef begin(self)

    @cython.locals(raw="const char *", short=bint, size=Py_ssize_t)
    cpdef data(self, bytes piece)

    cpdef ended(self)
    cpdef drained(self)
    cpdef lost(self)
    cpdef _read_messages(self)
    cpdef _count_buffer(self)
    cpdef _handle(self, bytes message)
    cpdef _send(self, object replies, bytes trailers=*)
    cpdef _close_handler(self)

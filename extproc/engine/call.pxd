# Types in C for call.py, where it is compiled (setup.py).

from extproc.engine.flow cimport Stream

cdef class Service:
    cdef public object factories, post, pulse

cdef class Call(Stream):
    cdef public object _head, _buffer, _begun, _handler
    cdef public Service _service

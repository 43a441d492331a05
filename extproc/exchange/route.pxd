# Types in C for route.py, where it is compiled (setup.py).

from extproc.exchange.breakers cimport Breakers
from extproc.exchange.request_body cimport Body
from extproc.headers cimport Headers

cdef class RouteStream:
    cdef public object decision, operation, state
    cdef public Breakers _breakers
    cdef public object _diverted, _down, _entropy, _fields, _free_shares, _mode, _path, _picks, _place, _shares, _snapshot, _subset
    cdef public Body _body
    cdef public Headers _headers

    cpdef tuple receive(self, object event)
    cpdef tuple _on_headers(self, object event)
    cpdef tuple _decide_by_headers(self, object event, str unread=*)
    cpdef tuple _answer_headers(self, object event, object mutation, tuple notes)
    cpdef tuple _collect(self, object event)
    cpdef tuple _on_body(self, object event)
    cpdef tuple _decide_by_body(self, tuple trailers, bint complete)
    cpdef object _read(self, Body body, object reader, bint complete)
    cpdef tuple _decide(self, object fields, bytes body)

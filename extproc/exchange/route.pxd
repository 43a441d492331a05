# Types in C for stream.py, where it is compiled (setup.py).

from extproc.exchange.request_body cimport Body
from extproc.headers cimport Headers

cdef class RouteStream:
    cdef public object decision, operation, state
    cdef public object _entropy, _free_shares, _mode, _told, _snapshot
    cdef public Body _body
    cdef public Headers _headers

    cpdef tuple receive(self, object event, double now)
    cpdef tuple _on_headers(self, object event)
    cpdef object _body_limit(self, object operation)
    cpdef tuple _answer_head(self, object event)
    cpdef tuple _wave_on(self, object event, object mutation, tuple notes)
    cpdef tuple _collect(self, object event)
    cpdef tuple _on_body(self, object event)
    cpdef tuple _answer_body(self, tuple last, bint complete)
    cpdef tuple _send(self, object mutation, tuple notes, object splice, tuple last, bint ended)
    cpdef tuple _decide(self, object told, bytes body)

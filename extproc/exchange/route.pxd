# Types in C for route.py, where it is compiled (setup.py).

cimport cython
from extproc.exchange.breakers cimport Breakers
from extproc.exchange.body_mode cimport can_hold_back, mode_of, replies, with_body_change
from extproc.exchange.replies cimport client_copies, own_mutation
from extproc.exchange.request_body cimport Body, body_key, bytes_needed
from extproc.exchange.sampling cimport AdaptiveShares, with_sampling
from extproc.bodies.request cimport InferenceRequest, Operation, request_for_decision
from extproc.policy.decision cimport Decision, decide
from extproc.headers cimport Headers

cdef class RouteStream:
    cdef public object state
    cdef public Operation operation
    cdef public Decision decision
    cdef public Breakers _breakers
    cdef public object _diverted, _down, _entropy, _fields, _free_shares, _mode, _path, _picks, _place, _snapshot, _subset
    cdef public AdaptiveShares _shares
    cdef public Body _body
    cdef public Headers _headers

    cpdef tuple receive(self, object event)
    @cython.locals(operation=Operation)
    cpdef tuple _on_headers(self, object event)
    cpdef tuple _decide_by_headers(self, object event, str unread=*)
    cpdef tuple _answer_headers(self, object event, object mutation, tuple notes)
    cpdef tuple _collect(self, object event)
    cpdef tuple _on_body(self, object event)
    cpdef tuple _finish(self, tuple actions)
    cpdef tuple _decide_by_body(self, tuple trailers, bint complete)
    cpdef object _read(self, Body body, object reader, bint complete)
    @cython.locals(decision=Decision, request=InferenceRequest)
    cpdef tuple _decide(self, object fields, bytes body)

# Types in C for breakers.py, where it is compiled (setup.py).

cimport cython

from extproc.exchange.endpoint_breakers cimport EndpointBreaker, EndpointBreakers
from extproc.policy.breaker cimport Breaker, InFlight

@cython.final
cdef class Breakers:
    cdef object _clock, _snapshot, _unreachable
    cdef Py_ssize_t _processes
    cdef dict _breakers, _endpoints, _present
    cdef bint _wanted

    cpdef EndpointBreakers endpoints(self, object policy, tuple name, bint grpc)
    @cython.locals(now=double, name=tuple, grpc=bint)
    cpdef tuple admit(self, object decision, tuple asked, object snapshot, object down, bint stays)
    @cython.locals(policies=dict, share=double, name=tuple, known=tuple, breaker=Breaker, endpoints=EndpointBreakers,
                   endpoint=EndpointBreaker, one=InFlight)
    cpdef tuple begin(self, object snapshot, object metadata, object headers, double now)
    @cython.locals(other=EndpointBreaker, waits=bint)
    cpdef tuple served(self, Breaker breaker, InFlight one, str endpoint, double now)
    @cython.locals(endpoints=EndpointBreakers)
    cdef _busy(self, object policy, tuple name, bint grpc, double now)
    cdef _admitted(self, object policy, tuple name, bint grpc, double now)
    @cython.locals(found=tuple, breaker=Breaker)
    cdef Breaker _of(self, object policy, tuple name)

cdef bint _is_target(object snapshot, tuple name) except -1
cdef tuple _name(object decision, object policy)
@cython.locals(failed=bint)
cpdef note_end(Breaker breaker, InFlight one, object observed, double now)

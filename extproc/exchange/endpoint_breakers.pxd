# Types in C for endpoint_breakers.py, where it is compiled (setup.py).

cimport cython

from extproc.policy.breaker cimport Breaker, InFlight

cdef class EndpointBreaker(Breaker):
    cdef readonly EndpointBreakers owner
    cdef readonly str endpoint
    cdef public Py_ssize_t place

    cpdef admit(self, double now)
    cpdef InFlight begin(self, double now, double weight=*)
    cpdef first_token(self, InFlight one, double seconds, double now)
    cpdef end(self, InFlight one, double now)
    cpdef outcome(self, double now, bint failed, InFlight one=*)

cdef class EndpointBreakers:
    cdef readonly tuple addresses
    cdef object _clock, _bounds, _unreachable, _why
    cdef frozenset _without
    cdef bytes _reachable
    cdef dict _place_of, _breakers
    cdef double _promised, _next_look
    cdef bytearray _marks
    cdef Py_ssize_t _closed

    @cython.locals(found=EndpointBreaker)
    cpdef EndpointBreaker of(self, str endpoint)
    cpdef busy(self, double now)
    @cython.locals(now=double)
    cpdef bytes marks(self, tuple addresses)
    @cython.locals(one=EndpointBreaker)
    cpdef sent(self, str endpoint)
    cpdef note(self, EndpointBreaker one, double now)
    @cython.locals(reachable=bytes)
    cdef bint _one_takes(self) except -1
    @cython.locals(one=EndpointBreaker, reachable=bytes)
    cdef list _reached(self)
    cdef bytes _marks_of_reachable(self)
    @cython.locals(one=EndpointBreaker)
    cdef _look(self, double now)
    cdef _mark(self, EndpointBreaker one, bint takes)

# Types in C for servicer.py, where it is compiled (setup.py).

from extproc.exchange.breakers cimport Breakers
from extproc.exchange.sampling cimport AdaptiveShares
from extproc.policy.breaker cimport Breaker, InFlight
from extproc.policy.pool_load cimport PoolLoads
from extproc.serve.open_streams cimport OpenStreams

cimport cython

cdef dict _ENCODERS

cdef bytes _random_bytes()

cdef class ProcessHandler:
    cdef public bint done
    cdef public Breakers _breakers
    cdef public tuple _in_flight
    cdef public object _ended, _metrics, _observing, _picks, _routing, _sender, _on_observed, _snapshot
    cdef public OpenStreams _streams
    cdef public PoolLoads _loads
    cdef public AdaptiveShares _shares

    cpdef list receive(self, bytes message)
    @cython.locals(breaker=Breaker, one=InFlight)
    cpdef close(self)
    @cython.locals(breaker=Breaker, one=InFlight)
    cdef _follow(self, Breakers breakers, object exchange, object event, double now)
    cdef Py_ssize_t _held(self, object exchange, Py_ssize_t size) except -1
    cpdef list _act(self, tuple actions)
    cpdef tuple _actions(self, object event, double now)
    @cython.locals(breaker=Breaker, one=InFlight)
    cpdef _note(self, object action)

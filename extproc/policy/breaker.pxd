# Types in C for breaker.py, where it is compiled (setup.py).

cimport cython

from extproc.policy.change_test cimport ChangeTest

cdef class InFlight:
    cdef readonly double began, weight
    cdef readonly Py_ssize_t epoch
    cdef readonly bint waiting, late, slow

cdef class Breaker:
    cdef public object bounds
    cdef public double promised
    cdef readonly double in_flight
    cdef readonly object usual
    cdef readonly str state
    cdef readonly Py_ssize_t ejections
    cdef double _late_after, _of_epoch, _before, _hold, _held_until
    cdef double _pending, _pending_before, _slot_ends, _usual_since, _ejected_until, _returned_at
    cdef Py_ssize_t _late, _epoch, _step, _round, _good_probes
    cdef bint _met
    cdef ChangeTest _slow, _failing, _limited, _raised
    cdef object _waiting, _limit
    cdef list _times

    cpdef busy(self, double now)
    @cython.locals(limit=double)
    cpdef bint within_limit(self, double now) except -1
    cpdef admit(self, double now)
    @cython.locals(one=InFlight)
    cpdef InFlight begin_stream(self, double now, double weight=*)
    @cython.locals(taken=double)
    cpdef InFlight begin(self, double now, double weight=*)
    cpdef first_token(self, InFlight one, double seconds, double now)
    cpdef end(self, InFlight one, double now)

    cdef double _unseen(self, double now) except? -1.0
    @cython.locals(too_long=double, one=InFlight)
    cdef _tick(self, double now)
    cdef _note_late(self, double now)
    cdef _no_longer_waits(self, InFlight one)
    cdef _raise(self, Py_ssize_t step)
    cdef _hold_at(self, double limit, double now)
    cdef _set(self, double limit)
    cdef _eject(self, double now)
    @cython.locals(test=ChangeTest)
    cdef _enter(self, str state)
    @cython.locals(times=list, slowest=bint, wanted=Py_ssize_t)
    cdef _learn(self, double seconds, double now)

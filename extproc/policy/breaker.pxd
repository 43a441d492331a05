# Types in C for breaker.py, where it is compiled (setup.py). No method of the path has arguments by keyword: it would be
# called as Python calls it.

cimport cython

from extproc.policy.change_test cimport ChangeTest
from extproc.policy.usual_time cimport UsualTime

@cython.final
cdef class InFlight:
    cdef readonly double began, weight
    cdef readonly Py_ssize_t epoch
    cdef readonly bint waiting, late, slow

cdef class Breaker:
    cdef public double promised
    cdef readonly double in_flight
    cdef readonly str state
    cdef readonly Py_ssize_t ejections
    cdef double _least, _most, _limit, _of_epoch, _before, _hold, _held_until
    cdef double _pending, _pending_before, _slot_ends, _ejected_until, _returned_at
    cdef Py_ssize_t _late, _epoch, _step, _round, _good_probes
    cdef bint _met
    cdef ChangeTest _slow, _failing, _limited, _raised
    cdef UsualTime _usual
    cdef object _waiting

    cpdef set_bounds(self, object bounds)
    cpdef busy(self, double now)
    cpdef closed(self, double now)
    @cython.locals(limit=Py_ssize_t)
    cpdef bint within_limit(self, double now) except -1
    cpdef admit(self, double now)
    @cython.locals(one=InFlight)
    cpdef InFlight begin_stream(self, double now, double weight=*)
    @cython.locals(one=InFlight, taken=double)
    cpdef InFlight begin(self, double now, double weight=*)
    cpdef first_token(self, InFlight one, double seconds, double now)
    cpdef end(self, InFlight one, double now)
    cpdef outcome(self, double now, bint failed, InFlight one=*)

    cdef double _at_present(self) except? -1.0
    cdef double _unseen(self, double now) except? -1.0
    cdef _tick(self, double now)
    @cython.locals(too_long=double, one=InFlight)
    cdef _look_for_late(self, double now)
    cdef _note_late(self, double now)
    cdef _no_longer_waits(self, InFlight one)
    cdef _probed(self, double now, bint good)
    cdef _note_time(self, double now, bint slow)
    cdef _note_of_round(self, double now, bint slow)
    cdef _raise(self, Py_ssize_t step)
    cdef _hold_at(self, double limit, double now)
    cdef _set(self, double limit)
    cdef _eject(self, double now)
    @cython.locals(test=ChangeTest)
    cdef _enter(self, str state)

# Types in C for breakers.py, where it is compiled (setup.py).

cimport cython

from extproc.policy.breaker cimport Breaker, InFlight

@cython.final
cdef class Breakers:
    cdef object _clock, _snapshot
    cdef Py_ssize_t _processes
    cdef dict _breakers
    cdef bint _wanted

    @cython.locals(now=double, breaker=Breaker)
    cpdef tuple admit(self, object decision, tuple asked, object snapshot, object down, bint stays)
    @cython.locals(policies=dict, share=double, name=tuple, known=tuple, breaker=Breaker)
    cpdef tuple begin(self, object snapshot, object metadata, double now)
    @cython.locals(found=tuple, breaker=Breaker)
    cdef Breaker _of(self, object policy, tuple name)

cdef bint _is_target(object snapshot, tuple name) except -1
cdef tuple _name(object decision, object policy)
@cython.locals(failed=bint)
cpdef note_end(Breaker breaker, InFlight one, object observed, double now)

# Types in C for sampling.py, where it is compiled (setup.py).

cimport cython
from extproc.policy.decision cimport Decision

cdef double _DRAWS
cdef int _DRAW_BYTES, _END_STEPS, _MAX_HALVINGS, _STEPS

cdef class Rate:
    cdef public double per_second, _last

    @cython.locals(elapsed=double, rate=double)
    cpdef double note(self, double now) except -1

cdef class AdaptiveShares:
    cdef public object _clock
    cdef public dict _rates

    @cython.locals(rate=Rate, per_second=double, share=double)
    cpdef tuple shares(self, tuple row)

@cython.locals(at=int, drawn="unsigned long long")
cdef double _draw(bytes entropy) except -1

@cython.locals(halvings=int, share=double)
cdef double _share_at(double times, int steps) except -1

@cython.locals(share=double, to_end=double, drawn=double)
cpdef object with_sampling(object mutation, Decision decision, bytes entropy, AdaptiveShares shares, bint streamed)

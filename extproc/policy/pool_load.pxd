# Types in C for pool_load.py, where it is compiled (setup.py).

cdef class PoolLoads:
    cdef public object down, unreachable, _current
    cdef public dict _reports
    cdef public double _expires_at
    cdef public bint _stale

    cpdef object free_shares(self, double now)

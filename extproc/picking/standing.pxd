# Types in C for standing.py, where it is compiled (setup.py).

cimport cython

cdef double[::1] _LOTS
cdef double _INFINITE

cdef class Standing:
    cdef Py_ssize_t _size
    cdef readonly bytes ready
    cdef readonly list places
    cdef readonly double[::1] batch, unread, weight
    cdef readonly signed char[::1] known, saturated
    cdef readonly bint all_saturated
    cdef double[::1] _covered
    cdef object _loaded_adapters
    cdef double _adapter_weight
    cdef tuple _adapters
    cdef dict _weights

    @cython.locals(table="const double[:, ::1]", batch="double[::1]", known=Py_ssize_t, place=Py_ssize_t, total=double,
                   mean=double, waiting=double, running=double, sent=double, working=double, fresh=bint, over=bint,
                   all_saturated=bint, most_waiting=double, most_cache=double)
    cdef bint _weigh(self, object spec, object loads, double prompt_bytes) except *

    @cython.locals(covered="double[::1]", weights="double[::1]", start=Py_ssize_t, first=Py_ssize_t, second=Py_ssize_t,
                   third=Py_ssize_t, least=double, less=double, little=double, place=Py_ssize_t, score=double,
                   places=list, size=double)
    cpdef list best(self, bytes may, double prompt_bytes, object cached, str adapter, object lot)

    @cython.locals(load=double)
    cpdef double score(self, Py_ssize_t place, double prompt_bytes, double cached, double weight) except? -1.0

    cpdef weights_for(self, str adapter)
    cpdef sent(self, Py_ssize_t place, double prompt_bytes)

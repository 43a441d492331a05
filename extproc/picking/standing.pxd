# Types in C for standing.py, where it is compiled (setup.py).

cimport cython

cdef double[::1] _LOTS
cdef Py_ssize_t _LAST_LOT, _MOST_ADAPTERS
cdef double _INFINITE, _STALE_AFTER, _READING_RATE, _BELIEVED

@cython.final
cdef class Standing:
    cdef Py_ssize_t _size
    cdef readonly bytes ready
    cdef readonly list places
    cdef readonly double[::1] batch, unread
    cdef readonly signed char[::1] known, saturated
    cdef readonly bint all_saturated
    cdef double[::1] _covered, _own, _alike
    cdef object _adapter_names
    cdef double _adapter_weight
    cdef tuple _adapters
    cdef dict _weights

    @cython.locals(numbers="const double[::1]", batch="double[::1]", size=Py_ssize_t, waiting_at=Py_ssize_t,
                   running_at=Py_ssize_t, cache_at=Py_ssize_t, age_at=Py_ssize_t, sent_at=Py_ssize_t,
                   in_flight_at=Py_ssize_t, most_waiting=double, most_cache=double, known=Py_ssize_t, total=double,
                   mean=double, place=Py_ssize_t, waiting=double, running=double, sent=double, working=double,
                   in_flight=double, fresh=bint, over=bint, stale=bint, all_saturated=bint)
    cdef bint _weigh(self, object spec, object loads, double prompt_bytes) except *

    @cython.locals(covered="double[::1]", weights="double[::1]", start=Py_ssize_t, first=Py_ssize_t, second=Py_ssize_t,
                   third=Py_ssize_t, least=double, less=double, little=double, place=Py_ssize_t, score=double,
                   places=list, size=double, expected=double)
    cpdef list best(self, bytes may, double prompt_bytes, object cached, object homes, str adapter, object lot)

    @cython.locals(load=double)
    cpdef double score(self, Py_ssize_t place, double prompt_bytes, double cached, double weight) except? -1.0

    cpdef weights_for(self, str adapter)
    cpdef sent(self, Py_ssize_t place, double prompt_bytes)

    @cython.locals(place=Py_ssize_t, left=double)
    cpdef follow(self, Standing before, double seconds)

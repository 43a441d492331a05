# Types in C for streams.py, where it is compiled (setup.py).

cdef class Streams:
    cdef public object _metrics
    cdef public Py_ssize_t _bytes, _most, _most_held, _most_waiting, _most_watched, _watching
    cdef public dict _waiting

    cpdef open(self)
    cpdef watch(self)
    cpdef wait(self, object stream, Py_ssize_t size)

# Types in C for open_streams.py, where it is compiled (setup.py).

cdef class OpenStreams:
    cdef public object _metrics
    cdef public Py_ssize_t _held_bytes, _max_streams, _max_held_bytes, _max_waiting, _max_watching, _open, _watching
    cdef public dict _waiting
    cdef public object _silent

    cpdef open(self, object stream)
    cpdef watch(self, object stream)
    cpdef wait(self, object stream, Py_ssize_t size)
    cpdef close(self, object stream, bint watching=*)

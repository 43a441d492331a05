# Types in C for prefix_index.py, where it is compiled (setup.py).

cimport cython

cdef class PrefixIndex:
    cdef Py_ssize_t _capacity, _share
    cdef tuple _addresses
    cdef dict _slots, _holders
    cdef list _places, _bits, _blocks

    cpdef keep(self, tuple addresses)

    @cython.locals(found=list, holders=dict, depth=Py_ssize_t, alive=object, still=object)
    cpdef list match(self, tuple blocks)

    cpdef bit(self, Py_ssize_t place)

    @cython.locals(places=list, found=list, at=Py_ssize_t, byte="unsigned char", bit=Py_ssize_t)
    cpdef list places(self, object endpoints)

    @cython.locals(slot=Py_ssize_t, holders=dict, bit=object)
    cpdef add(self, str address, tuple blocks)

    cdef _shorten(self, Py_ssize_t slot, object blocks)
    cdef _forget(self, Py_ssize_t slot)
    @cython.locals(left=object)
    cdef _drop(self, object block, Py_ssize_t slot)

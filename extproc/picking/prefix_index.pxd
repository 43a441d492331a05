# Types in C for prefix_index.py, where it is compiled (setup.py).

cimport cython

@cython.final
cdef class PrefixIndex:
    cdef Py_ssize_t _capacity, _share
    cdef tuple _addresses
    cdef dict _slots, _holders
    cdef list _places, _bits, _blocks, _uses

    cpdef keep(self, tuple addresses)

    @cython.locals(
        found=list, holders=dict, depth=Py_ssize_t, size=Py_ssize_t, ahead=Py_ssize_t, alive=object, still=object
    )
    cpdef list match(self, tuple blocks)

    cpdef bit(self, Py_ssize_t place)

    @cython.locals(places=list, found=list, at=Py_ssize_t, byte="unsigned char", bit=Py_ssize_t)
    cpdef list places(self, object endpoints)

    # Bits of sets are numbers of Python's: there may be more than C's have.
    @cython.locals(slot=object, holders=dict, bit=object, uses=Py_ssize_t, used=Py_ssize_t)
    cpdef add(self, str address, tuple blocks, Py_ssize_t known)

    cdef _shorten(self, object slot, object blocks)
    cdef _forget(self, object slot)
    @cython.locals(left=object)
    cdef _drop(self, object block, object slot)

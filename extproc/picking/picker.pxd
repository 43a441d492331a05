# Types in C for picker.py, where it is compiled (setup.py).

cimport cython

from extproc.picking.prefix_index cimport PrefixIndex
from extproc.picking.standing cimport Standing

@cython.final
cdef class Picker:
    cdef readonly object spec
    cdef str _cluster
    cdef PrefixIndex _index
    cdef tuple _ends
    cdef double _usual
    cdef Py_ssize_t _turn
    cdef object _loads, _candidates, _by_session
    cdef dict _place_of, _sessions, _sets
    cdef list _ring, _on_ring
    cdef Standing _standing

    cpdef pick(self, object candidates, object loads, object request, bytes entropy)
    cpdef sent(self, str endpoint, object prompt, Py_ssize_t matched)
    cdef Standing _stand(self, object candidates, object loads)
    cdef _keep(self, object candidates)
    @cython.locals(expected=double)
    cdef list _homes(self, object prompt)
    cdef list _set(self, object endpoints)
    @cython.locals(bit=object)
    cdef _matched(self, Py_ssize_t place, list matches)
    cdef list _in_turn(self, bytes may)
    cdef list _of_session(self, bytes key, bytes may)

cdef list _better_of_two(Standing standing, bytes may, object lot)

# Types in C for ambiguous_keys.py, where it is compiled (setup.py).

cimport cython

cdef int _BACKSLASH, _REACH

cpdef check_unambiguous(bytes body, str key)
cpdef bint may_have_duplicates(bytes body, str key) except -1

@cython.locals(parts=list, at=Py_ssize_t, end=Py_ssize_t)
cdef bytes _near_quotes(bytes body, Py_ssize_t size)

# Types in C for ambiguous_keys.py, where it is compiled (setup.py).

cimport cython

cdef int _BACKSLASH, _QUOTE, _U, _STEP, _LEAD, _SHORT

cpdef check_unambiguous(bytes body, str key)
cpdef bint may_have_duplicates(bytes body, str key) except -1

@cython.locals(size=Py_ssize_t, found=bint, steps=Py_ssize_t, at=Py_ssize_t, last=Py_ssize_t, raw="const unsigned char *")
cdef bint _repeats(bytes body, bytes quoted, bytes lowered, object in_any_case) except -1

@cython.locals(steps=Py_ssize_t, at=Py_ssize_t, last=Py_ssize_t, raw="const unsigned char *")
cdef bint _escapes_letter(bytes body) except -1

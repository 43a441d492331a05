# Types in C for ambiguous_keys.py, where it is compiled (setup.py).

cdef int _BACKSLASH

cpdef check_unambiguous(bytes body, str key)
cpdef bint may_have_duplicates(bytes body, str key) except -1

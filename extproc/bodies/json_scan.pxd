# Types in C for json_scan.py, where it is compiled (setup.py).

cdef int _BACKSLASH

cpdef bytes to_utf8(bytes body)
cpdef check_unambiguous(bytes body, str key)
cpdef bint may_have_duplicates(bytes body, str key) except -1

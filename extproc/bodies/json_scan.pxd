# Types in C for jsonbody.py, where it is compiled (setup.py).

cdef int _BACKSLASH

cpdef bytes utf8(bytes body)
cpdef once(bytes body, str key)
cpdef bint may_repeat(bytes body, str key) except -1

# Types in C for string_span.py, where it is compiled (setup.py).

cdef int _BACKSLASH

# Types in C for jsonreader.py, where it is compiled (setup.py).

cdef class _Document:
    cdef readonly object _fields, _reader, model

cpdef named(object raw)

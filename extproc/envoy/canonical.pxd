# Types in C for canonical.py, where it is compiled (setup.py): all numbers are offsets in a message, or sizes below 2**35.

cimport cython

cdef int _FIRST, _RAW_VALUE, _METADATA

@cython.locals(raw="const char *", at=Py_ssize_t, size=Py_ssize_t, stop=Py_ssize_t, end=Py_ssize_t, tag=int)
cpdef object parse(bytes data)

@cython.locals(raw="const char *", first=dict, count=Py_ssize_t, header=int, key=int, length=Py_ssize_t,
               size=Py_ssize_t, name=Py_ssize_t, value=Py_ssize_t, following=Py_ssize_t)
cdef object _read_headers(bytes data, Py_ssize_t at, Py_ssize_t stop)

@cython.locals(size=Py_ssize_t, part=Py_ssize_t, shift=int)
cpdef (Py_ssize_t, Py_ssize_t) read_varint(bytes data, Py_ssize_t at) except *

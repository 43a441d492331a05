# Types in C for json_reader.py, where it is compiled (setup.py).

cdef class _Document:
    cdef readonly object _fields, _reader, model

cpdef decode_model(object raw)

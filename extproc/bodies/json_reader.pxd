# Types in C for json_reader.py, where it is compiled (setup.py).

from extproc.bodies.ambiguous_keys cimport check_unambiguous
from extproc.bodies.json_scan cimport scalar, to_utf8

cdef class JsonReader:
    cdef public bint streams
    cdef public dict pointers, _attributes
    cdef public str _model, _model_attribute
    cdef public list _adapter, _limit, _prompt, _required, _stream
    cdef public object _decode, _streaming

    cpdef object read(self, bytes body, object headers)
    cpdef bint streaming(self, object fields) except -1
    cpdef str _read_model(self, object fields, bytes text)

cdef class _Document:
    cdef readonly object _fields, model
    cdef readonly JsonReader _reader

cdef object _raw(object fields, tuple place)
cpdef decode_model(object raw)

# Types in C for canonical_log.py, where it is compiled (setup.py): all numbers are offsets in a message, tags, or below
# 2**35.

cimport cython
from extproc.envoy.canonical cimport read_varint

cdef int _VARINT, _FIXED64, _BYTES, _FIXED32
cdef int _HTTP_LOGS
cdef int _COMMON, _REQUEST, _RESPONSE
cdef int _TLS, _FIRST_BYTE, _SERVER, _CLUSTER, _FLAGS, _METADATA, _FILTER_STATE, _TAGS, _DURATION
cdef int _REQUEST_ID, _HEADERS
cdef int _CODE, _DETAILS
cdef int _KEY, _VALUE, _TEXT
cdef bytes _OWN

@cython.locals(found=list, at=Py_ssize_t, end=Py_ssize_t, start=Py_ssize_t, first=Py_ssize_t, key=Py_ssize_t)
cpdef list parse(bytes data, Py_ssize_t most)

@cython.locals(common=tuple, headers=bytes, code=Py_ssize_t, sent=bint, part=Py_ssize_t, number=Py_ssize_t,
               key=Py_ssize_t, start=Py_ssize_t, client=bytes)
cdef object _entry(bytes data, Py_ssize_t at, Py_ssize_t end)

@cython.locals(seconds=double, answered=bint, field=Py_ssize_t, number=Py_ssize_t, key=Py_ssize_t, start=Py_ssize_t,
               tag=Py_ssize_t, tls=bytes, maps=Py_ssize_t, maps_end=Py_ssize_t)
cdef tuple _common(bytes data, Py_ssize_t at, Py_ssize_t end)

@cython.locals(headers=Py_ssize_t, headers_end=Py_ssize_t, field=Py_ssize_t, number=Py_ssize_t, key=Py_ssize_t,
               start=Py_ssize_t, tag=Py_ssize_t)
cdef tuple _request(bytes data, Py_ssize_t at, Py_ssize_t end)

@cython.locals(code=Py_ssize_t, field=Py_ssize_t, number=Py_ssize_t, key=Py_ssize_t, start=Py_ssize_t)
cdef tuple _response(bytes data, Py_ssize_t at, Py_ssize_t end)

@cython.locals(own=dict, key=Py_ssize_t, start=Py_ssize_t, stop=Py_ssize_t, middle=Py_ssize_t)
cdef tuple _metadata(bytes data, Py_ssize_t at, Py_ssize_t end)

@cython.locals(found=dict, key=Py_ssize_t, start=Py_ssize_t, stop=Py_ssize_t, place=Py_ssize_t, middle=Py_ssize_t,
               value=Py_ssize_t, text=Py_ssize_t)
cdef dict _texts(bytes data, Py_ssize_t at, Py_ssize_t end)

@cython.locals(stop=Py_ssize_t)
cdef Py_ssize_t _entry_key(bytes data, Py_ssize_t at, Py_ssize_t end) except -1

@cython.locals(seconds=Py_ssize_t, nanos=Py_ssize_t, number=Py_ssize_t, field=Py_ssize_t, key=Py_ssize_t,
               start=Py_ssize_t)
cdef double _duration(bytes data, Py_ssize_t at, Py_ssize_t end) except -1

@cython.locals(key=Py_ssize_t, start=Py_ssize_t, stop=Py_ssize_t, number=Py_ssize_t)
cdef Py_ssize_t _number(bytes data, Py_ssize_t at, Py_ssize_t end) except -1

@cython.locals(key=Py_ssize_t, kind=Py_ssize_t, size=Py_ssize_t, start=Py_ssize_t, stop=Py_ssize_t)
cdef (Py_ssize_t, Py_ssize_t, Py_ssize_t) _next(bytes data, Py_ssize_t at, Py_ssize_t end) except *

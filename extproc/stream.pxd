# Types in C for stream.py, where it is compiled (setup.py).

from extproc.body cimport Body
from extproc.headers cimport Headers

cdef class RouteStream:
    cdef public object decision, operation, state
    cdef public object _entropy, _free, _mode, _told, _view
    cdef public Body _body
    cdef public Headers _headers

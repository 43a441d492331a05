# Types in C for body_mode.py, where it is compiled (setup.py).

from extproc.exchange.request_body cimport Body
from extproc.headers cimport Headers

cpdef object mode_of(object protocol)
cpdef bint can_hold_back(object mode, object protocol) except -1
cpdef object with_body_change(object mutation, object change, Headers headers)
cpdef tuple replies(object mode, object mutation, Body body, object splice, tuple trailers, bint ended)

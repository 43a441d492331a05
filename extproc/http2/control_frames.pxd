# Types in C for control_frames.py, where it is compiled (setup.py).

from extproc.http2.windows cimport FlowControl

cdef class ControlFrames(FlowControl):
    cdef public bint ping_pending
    cdef public Py_ssize_t max_stream_id

# Types in C for answer_state.py, where it is compiled (setup.py).

cimport cython

@cython.final
cdef class AnswerState:
    cdef public Py_ssize_t excess_fields, output_events, refused
    cdef public bint client_error, complete, failed, over
    cdef public dict counts

# Types in C for control.py, where it is compiled (setup.py).

cdef class Control:
    cdef public object awaited, queued, window, initial_window, last, allowed, patience, owed, kept
    cdef public dict streams, waiting
    cdef public list _out

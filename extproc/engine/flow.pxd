# Types in C for flow.py, where it is compiled (setup.py).

cdef class Stream:
    cdef public object connection, number, window, open, length, owed, kept, waiting, _tail

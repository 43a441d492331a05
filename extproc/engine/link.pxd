# Types in C for link.py, where it is compiled (setup.py).

cdef class Link:
    cdef public object connection, closed, number, awaits, parted, _proved, _heard, _asked, _socket, _unsent, _tls

# Types in C for servicer.py, where it is compiled (setup.py).

cdef class ProcessHandler:
    cdef public object _exchange, _loads, _metrics, _observing, _sender, _told, _view, done

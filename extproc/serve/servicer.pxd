# Types in C for servicer.py, where it is compiled (setup.py).

from extproc.serve.open_streams cimport OpenStreams

cdef class ProcessHandler:
    cdef public bint done
    cdef public object _breakers, _ended, _in_flight, _loads, _metrics, _observing, _picks, _routing, _sender, _shares, _on_observed, _snapshot
    cdef public OpenStreams _streams

    cpdef list receive(self, bytes message)
    cpdef close(self)
    cpdef list _act(self, tuple actions)
    cpdef tuple _actions(self, object event, double now)
    cpdef _note(self, object action)

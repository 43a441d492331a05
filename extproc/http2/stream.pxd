# Types in C for flow.py, where it is compiled (setup.py): windows stay below 2**32, and what is counted fits in memory.

cimport cython

cdef int DATA, END_HEADERS, END_STREAM, HEADERS, MAX_FRAME, NO_ERROR

cdef class ConnectionOutput:
    cdef public Py_ssize_t held, initial_window, queued, window, work
    cdef public object ledger, waiting
    cdef public list _out

    cpdef put(self, bytes data)
    cpdef hold(self, Py_ssize_t size)
    cpdef park(self, Stream stream)
    cpdef release(self, Stream stream)
    cpdef close(self, Stream stream)

cdef class Stream:
    cdef public ConnectionOutput connection
    cdef public Py_ssize_t kept, number, owed, window
    cdef public bint asked, open
    cdef public bytes _tail
    cdef public object length, waiting

    cpdef begin(self)
    cpdef data(self, bytes piece)
    cpdef ended(self)
    cpdef drained(self)
    cpdef lost(self)

    @cython.locals(connection=ConnectionOutput, size=Py_ssize_t, begin=bytes, room=bint)
    cpdef send(self, bytes data, bytes head=*, bytes tail=*)

    cpdef drop(self)
    cpdef flush(self)

# Types in C for stream.py, where it is compiled (setup.py): windows stay below 2**32, and what is counted fits in memory.

cimport cython

cdef int DATA, END_HEADERS, END_STREAM, HEADERS, MAX_FRAME_SIZE
cdef dict _starts

cdef class ConnectionSender:
    cdef public Py_ssize_t buffered, initial_window, queued, window, work
    cdef public object budget, waiting
    cdef public list _out

    cpdef put(self, bytes data)
    cpdef bytes take(self)
    cpdef count_buffered(self, Py_ssize_t size)
    cpdef defer(self, Stream stream)
    cpdef release(self, Stream stream)
    cpdef close_stream(self, Stream stream)

cdef class Stream:
    cdef public ConnectionSender connection
    cdef public Py_ssize_t number, uncredited, window, withheld
    cdef public bint open, requested
    cdef public bytes _trailers
    cdef public object remaining, waiting

    cpdef join(self, ConnectionSender connection, Py_ssize_t number)
    cpdef begin(self)
    cpdef data(self, bytes piece)
    cpdef ended(self)
    cpdef drained(self)
    cpdef lost(self)

    @cython.locals(connection=ConnectionSender, size=Py_ssize_t, number=bytes, pieces=list, room=bint)
    cpdef send(self, bytes data, bytes head=*, bytes trailers=*)

    cpdef drop_waiting(self)
    cpdef flush(self)

cdef _add_frame(list pieces, bytes start, bytes number, bytes content)

@cython.locals(key=Py_ssize_t, start=bytes)
cdef bytes _frame_start(Py_ssize_t size, int kind, int flags)

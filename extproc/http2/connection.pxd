# Types in C for connection.py, where it is compiled (setup.py).

cimport cython
from extproc.http2.control_frames cimport ControlFrames
from extproc.http2.stream cimport Stream
from extproc.http2.request_headers cimport RequestHead, HeaderBlockReader

cdef int CONTINUATION, DATA, END_HEADERS, END_STREAM, HEADERS, HEADER_SIZE, MAX_FRAME_SIZE, PADDED, PRIORITY_FLAG
cdef int RST_STREAM
cdef int _FRAME_WORK
cdef Py_ssize_t CREDIT_THRESHOLD, STREAM_WINDOW

cdef class Connection(ControlFrames):
    cdef public bint failed, started
    cdef public bytes _buffer
    cdef public Py_ssize_t resets_received, _at
    cdef public object _accept, _block
    cdef public HeaderBlockReader _header_reader

    cpdef receive(self, bytes data, double now=*, Py_ssize_t share=*)
    cpdef terminate(self)
    cpdef close_stream(self, Stream stream)
    cpdef reset_stream(self, Stream stream, int code)

    @cython.locals(size=Py_ssize_t, streams=dict, stream=Stream, start=Py_ssize_t, length=Py_ssize_t, kind=int, flags=int,
                   number=Py_ssize_t, handlers=dict, raw="const char *")
    cpdef Py_ssize_t _read_frames(self, bytes data, Py_ssize_t at) except -1

    @cython.locals(uncredited=Py_ssize_t)
    cpdef _deliver(self, Stream stream, bytes piece, Py_ssize_t size, int flags)

    cpdef _end(self, Stream stream)
    cpdef _on_headers(self, Py_ssize_t number, int flags, bytes payload)

    @cython.locals(head=RequestHead, stream=Stream)
    cpdef _on_block(self, Py_ssize_t number, int flags, bytes block)

    @cython.locals(stream=Stream, ended=bint)
    cpdef _open(self, Py_ssize_t number, int flags, RequestHead head)

    @cython.locals(rapid=bint, stream=Stream)
    cpdef _on_reset(self, Py_ssize_t number, int _, bytes payload)

# Types in C for client_socket.py, where it is compiled (setup.py).

from extproc.http2.connection cimport Connection

cimport cython

cdef int EPOLLIN, EPOLLOUT
cdef Py_ssize_t MAX_QUEUED, UNLIMITED

@cython.final
cdef class ClientSocket:
    cdef public bint closed, _handshake_done
    cdef public bytes _unsent
    cdef public Connection connection
    cdef public double _last_ping, _last_received
    cdef public int registered_events
    cdef public object fd, last_active, _receive_buffer, _socket, _tls

    cpdef bint handle(self, int events, double now, Py_ssize_t share) except -1
    cpdef bint has_backlog(self) except -1

    @cython.locals(connection=Connection, reads=bint)
    cpdef int wanted_events(self) except -1

    @cython.locals(data=bytes)
    cpdef read(self, double now, Py_ssize_t share=*)

    @cython.locals(connection=Connection, data=bytes, encrypted=bytes, sent=Py_ssize_t)
    cpdef write(self)

    cpdef close(self)

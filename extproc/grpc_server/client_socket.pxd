# Types in C for link.py, where it is compiled (setup.py).

from extproc.http2.connection cimport Connection

cimport cython

cdef int EPOLLIN, EPOLLOUT
cdef Py_ssize_t ALL, MAX_QUEUED

cdef class ClientSocket:
    cdef public bint closed, _proved
    cdef public bytes _unsent
    cdef public Connection connection
    cdef public double _asked, _heard
    cdef public int awaits
    cdef public object number, parted, _socket, _tls

    cpdef bint attend(self, int events, double now, Py_ssize_t share) except -1
    cpdef bint behind(self) except -1

    @cython.locals(connection=Connection, reads=bint)
    cpdef int wants(self) except -1

    @cython.locals(data=bytes)
    cpdef read(self, double now, Py_ssize_t share=*)

    @cython.locals(connection=Connection, data=bytes, sealed=bytes, sent=Py_ssize_t)
    cpdef write(self)

    cpdef close(self)

# Types in C for answer_reader.py, where it is compiled (setup.py).

from extproc.answers.answer_state cimport AnswerState
from extproc.answers.wire.decoder cimport Allowance

cimport cython

@cython.final
cdef class AnswerReader:
    cdef public AnswerState state
    cdef public bint malformed
    cdef public Allowance _allowance
    cdef public Py_ssize_t _expanded
    cdef public object _coding, _decoder, _headers, _inspector, _on_document, _undecided

    @cython.locals(size=Py_ssize_t)
    cpdef bint feed(self, object data) except -1

    cpdef bint end(self) except -1

    @cython.locals(output=bint, state=AnswerState)
    cpdef bint _inspect(self, object events) except -1

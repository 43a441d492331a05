# Types in C for event_inspector.py, where it is compiled (setup.py).

from extproc.answers.answer_state cimport AnswerState

cimport cython

cdef int _OUTPUT, _END, _FINISH, _ERROR, _FAILURE

@cython.final
cdef class EventInspector:
    cdef public object shape, _roots
    cdef public bint has_end_mark, pieces_are_tokens
    cdef public list _counters, _ends, _errors, _every_event, _failures, _finishes, _kind, _last_events, _output
    cdef public dict _roles

    cpdef bint inspect(self, AnswerState state, object kind, object data, bint whole) except -1

    @cython.locals(role=int, output=bint, finished=bint)
    cpdef bint inspect_document(self, AnswerState state, object kind, dict document, Py_ssize_t part=*) except -1

    cpdef bint _apply(self, AnswerState state, int role, bint output, object document=*) except -1
    cpdef int _role_of(self, object kind) except -1

cdef bint _any_output(dict document, list groups, object roots) except -1
cdef bint _has_output(object node, tuple parts, Py_ssize_t depth, tuple names) except -1

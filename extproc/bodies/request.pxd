# Types in C for request.py, where it is compiled (setup.py).

cdef class InferenceRequest:
    cdef readonly str adapter, api, model, operation, version
    cdef readonly bint stream
    cdef readonly object max_tokens, prompt_bytes

cdef class Operation:
    cdef readonly str api, model, name, version
    cdef readonly bint any_path, shared, stateful, stream, uploads
    cdef readonly object reader, rename

cpdef InferenceRequest request_for_decision(Operation operation, object fields)

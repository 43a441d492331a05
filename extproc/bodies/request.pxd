# Types in C for request.py, where it is compiled (setup.py).

cpdef object request_for_decision(object operation, object fields)

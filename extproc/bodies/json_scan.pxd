# Types in C for json_scan.py, where it is compiled (setup.py).

cpdef bytes to_utf8(bytes body)
cpdef object scalar(object raw)

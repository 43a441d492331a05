# C types of sticky_key.py where it is compiled (setup.py).

from extproc.headers cimport Headers

cpdef bytes sticky_key(object policy, Headers headers, str body_key)

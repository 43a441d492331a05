# Types in C for the package's module, where it is compiled (setup.py).

cimport cython
from extproc.apis.path_pattern cimport Match
from extproc.bodies.request cimport Operation
from extproc.headers cimport Headers

@cython.locals(match=Match)
cpdef Operation classify(str method, str target, Headers headers, tuple prefixes=*)

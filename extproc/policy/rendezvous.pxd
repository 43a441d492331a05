# Types in C for rendezvous.py, where it is compiled (setup.py).

cimport cython

cdef double _DRAWS

@cython.locals(byte="unsigned char", number="unsigned long long", uniform=double, logarithm=double)
cdef double _arrival(bytes digest, double rate) except -1.0

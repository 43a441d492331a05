# Types in C for prompt.py, where it is compiled (setup.py).

cimport cython

@cython.locals(size=Py_ssize_t, marks=list, mark=object, start=Py_ssize_t, end=Py_ssize_t, chain=Py_hash_t, blocks=list)
cpdef object prompt_of(bytes raw, Py_ssize_t block_bytes, str root=*)

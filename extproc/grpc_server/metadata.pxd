# Types in C for metadata.py, where it is compiled (setup.py).

from extproc.http2.header_fields cimport Field

cimport cython

@cython.locals(field=Field, found=list, name=bytes, value=bytes)
cpdef tuple custom_metadata(object fields)

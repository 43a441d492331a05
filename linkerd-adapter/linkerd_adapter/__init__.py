"""Linkerd manifests from the same policy files. It may import the floors 0 to 4 of ``extproc``, never its shell."""

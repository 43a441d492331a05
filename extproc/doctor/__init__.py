"""``extproc doctor``: what a running Envoy made of its configuration.

``dump`` reads Envoy's admin documents, ``diagnosis`` judges them by ``rules`` (all pure), ``run`` fetches and prints
(floor 6).
"""

"""``extproc doctor``: what a running Envoy made of its configuration.

``envoy_dump`` reads Envoy's admin documents, ``diagnosis`` judges them by ``rules``, ``run`` fetches and prints.
"""

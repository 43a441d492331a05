"""``extproc check --istio``: what is wrong with Istio manifests though every schema takes them.

Sans I/O: texts in, findings out (``run.lint``). One module per kind of resource; each holds its rules beside the code
that looks for them, and ``run.RULES`` has them all. ``docs/istio-lint.md`` is made from these.
"""

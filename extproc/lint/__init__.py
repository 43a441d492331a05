"""What is wrong with manifests though every schema takes them.

Shared by ``extproc check --istio`` and ``linkerd-adapter lint``: ``manifest`` (values with positions, resources),
``manifest_files`` (the only I/O), ``findings``, ``rule_modules``, ``report``. Everything else is for Istio: one module
for each kind of resource, or for a subject of it, holds its rules beside the code that looks for them, and ``linter``
runs them all. ``docs/istio-lint.md`` is made from them.
"""

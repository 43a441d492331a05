"""An Envoy external processor that makes a service mesh AI-aware.

Packages stand in the order in which data walks; each imports only what stands below it (docs/architecture.md).
"""

__version__ = "0.1.0"

"""An Envoy external processor that makes a service mesh AI-aware.

The core (``headers`` to ``observe``) is sans-I/O: events in, actions out. See README.md for the floors.
"""

__version__ = "0.1.0"

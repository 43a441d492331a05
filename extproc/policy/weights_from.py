"""The route of a cluster whose weights a policy takes over."""

from __future__ import annotations

from typing import Final

import msgspec

HTTP_ROUTE: Final = "HTTPRoute"
VIRTUAL_SERVICE: Final = "VirtualService"
KINDS = {"httpRoute": HTTP_ROUTE, "virtualService": VIRTUAL_SERVICE}
"""By the field that names the route."""


class WeightsFrom(msgspec.Struct, frozen=True):
    """``spec.weightsFrom``. The route is in the policy's namespace."""

    kind: str
    """``HTTP_ROUTE`` or ``VIRTUAL_SERVICE``."""
    name: str
    backends: tuple[tuple[str, str], ...]
    """Versions, each with the name that the route has for it: of a Service, or of a VirtualService's subset."""

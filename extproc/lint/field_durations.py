"""VirtualService, DestinationRule: durations that are none."""

from __future__ import annotations

import re
from collections.abc import Iterator

from extproc.lint.findings import Finding, Rule
from extproc.lint.mesh import Mesh

NO_DURATION = Rule(
    "AIM214",
    "error",
    "a duration that is none",
    "The API server refuses the object. Durations are numbers, each with its unit.",
    "write h, m, s or ms after the number, as in 1.5s or 200ms",
)
RULES = (NO_DURATION,)

_NAMED_BY_USERS = re.compile(r"\.(?:headers|labels|matchLabels|queryParams)\b")
_DURATIONS = frozenset(
    (
        *("timeout", "perTryTimeout", "backoff", "maxAge", "fixedDelay", "connectTimeout", "idleTimeout", "interval"),
        *("maxConnectionDuration", "baseEjectionTime", "ttl", "warmupDurationSecs", "budgetInterval", "time"),
    )
)
"""Fields of VirtualServices and DestinationRules that are durations wherever they stand."""


def check(mesh: Mesh) -> Iterator[Finding]:
    """Every VirtualService and DestinationRule."""
    for resource in (*mesh.of("VirtualService"), *mesh.of("DestinationRule")):
        for value in resource.spec.walk():
            name = value.path.rpartition(".")[2]
            if name in _DURATIONS and not _NAMED_BY_USERS.search(value.path) and value.text and value.seconds is None:
                yield value.breaks(NO_DURATION, f"{value.text} is no duration")

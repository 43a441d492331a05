"""Lint rules: circuit breaking where Linkerd does not look for it."""

from __future__ import annotations

from collections.abc import Iterator

from extproc.lint.findings import Finding, Rule
from extproc.lint.manifest import Resource
from linkerd_adapter.lint.linkerd_annotations import (
    ALPHA,
    ANNOTATIONS,
    BREAKER,
    CONSECUTIVE,
    MODE,
    SUCCESS_RATE,
)
from linkerd_adapter.lint.objects import Given

BREAKER_ON_BACKEND = Rule(
    "LNK608",
    "warning",
    "circuit breaking is configured on a Service that is only a backend",
    "Backends of a route have the configuration of the *parent* Service; what their own says counts only where they "
    "are dialled themselves.",
    "put the annotations on the parent Service",
)
BREAKER_ON_ROUTE = Rule(
    "LNK609",
    "warning",
    "circuit breaking is configured on a route",
    "It is checked there and then forgotten.",
    "put the annotations on the parent Service",
)
NO_MODE = Rule(
    "LNK610",
    "warning",
    "an annotation for circuit breaking has no effect in this mode, or without one",
    "Without `balancer.linkerd.io/failure-accrual` there is none; success rates count in mode `unified` only.",
    "write `balancer.linkerd.io/failure-accrual: consecutive` or `unified`",
)
RULES = (BREAKER_ON_BACKEND, BREAKER_ON_ROUTE, NO_MODE)


def check(given: Given) -> Iterator[Finding]:
    """Every Service and route."""
    for service in given.services.values():
        yield from _modes(service)
        if not given.is_parent(service.key) and service.key in given.backends:
            for key, place in service.annotations.items():
                if key == MODE or key == ALPHA + "penalize-failures":
                    yield place.breaks(BREAKER_ON_BACKEND)
    for route in given.routes:
        for key, place in route.resource.annotations.items():
            if key in ANNOTATIONS and key.startswith((BREAKER, ALPHA)):
                yield place.breaks(BREAKER_ON_ROUTE)


def _modes(service: Resource) -> Iterator[Finding]:
    mode = service.annotations.get(MODE)
    for key, place in service.annotations.items():
        if key.startswith((CONSECUTIVE, SUCCESS_RATE)) and mode is None:
            yield place.breaks(NO_MODE, f"{key} has no effect without {MODE}")
        elif key.startswith(SUCCESS_RATE) and mode and mode.text == "consecutive":
            yield place.breaks(NO_MODE, f"{key} has no effect in mode consecutive", f"write `{MODE}: unified`")

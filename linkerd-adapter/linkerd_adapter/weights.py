"""Weights of a policy's versions as the weights of a rule's backends. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from math import lcm

from extproc.policy.snapshot import Policy, Version
from linkerd_adapter.names import Service
from linkerd_adapter.plan import Backend, Plan

MAX_WEIGHT = 1_000_000
"""Of a backendRef, by the CRD."""


def weighted_backends(plan: Plan, policy: Policy, *, grpc: bool) -> list[tuple[Backend, int]]:
    """The backends for requests without a version header, with weights that a rule may have.

    They go to the default version, else to all by weight.

    A version's weight is spread over its backends by their endpoints. Empty where no GPU pool fits any version.
    """
    versions = policy.answering or (Version(""),)
    weights = {v.name: (v.weight if not policy.default else int(v.name == policy.default)) for v in versions}
    parts: list[tuple[Backend, Fraction]] = []
    for name, weight in weights.items():
        backends = [b for p in plan.places[policy.name] if p.target.version == name for b in p.serving(grpc=grpc)]
        total = sum(b.size for b in backends)
        parts += [(b, Fraction(weight * b.size, total)) for b in backends if weight]
    return whole_weights(parts)


def whole_weights(parts: Sequence[tuple[Backend, Fraction]]) -> list[tuple[Backend, int]]:
    """Shares as whole weights of at most ``MAX_WEIGHT``; the shares of a Service that is named twice are added."""
    merged: dict[tuple[Service, int], tuple[Backend, Fraction]] = {}
    for backend, part in parts:
        key = backend.service, backend.port
        merged[key] = backend, part + (merged[key][1] if key in merged else 0)
    common = lcm(*(part.denominator for _, part in merged.values()))
    weights = [int(part * common) for _, part in merged.values()]
    largest = max(weights, default=0)
    if len(weights) == 1:
        weights = [1]  # it gets everything, whatever its weight
    elif largest > MAX_WEIGHT:
        weights = [max(1, weight * MAX_WEIGHT // largest) for weight in weights]
    return [(backend, weight) for (backend, _), weight in zip(merged.values(), weights, strict=True)]

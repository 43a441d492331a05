"""The decision: which policy owns a request, which version answers it, on which GPU pool.

The same request, headers, view and entropy always give the same decision.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache

import msgspec

from extproc import headers as names
from extproc.bodies.request import InferenceRequest
from extproc.envoy.actions import Mutation
from extproc.errors import Rejected
from extproc.headers import Headers, cookie, safe_value
from extproc.policy.pool_load import NO_LOADS
from extproc.policy.snapshot import HeaderMatch, Policy, Snapshot, Target, Version

# How a version was chosen: the metadata `cohort`.
MATCH = "match"
PIN = "pin"
STICKY = "sticky"
WEIGHT = "weight"
DEFAULT = "default"


class Decision(msgspec.Struct, frozen=True):
    """Where a request goes and why. ``policy`` is None where nobody owns the model: it passes on as it is."""

    asked: InferenceRequest
    policy: Policy | None = None
    pattern: str = ""
    """The policy's pattern that the model matched."""
    version: str = ""
    cohort: str = ""
    pool: str = ""
    architecture: str = ""
    model_rewrite: str = ""
    """Model name for the body sent upstream; empty: as it came."""

    def headers(self) -> tuple[tuple[str, str], ...]:
        """The routing headers to set, every value safe to travel."""
        return self.mutation().set

    def metadata(self) -> tuple[tuple[str, str], ...]:
        """Dynamic metadata for the namespace ``aimesh``."""
        return self.mutation().metadata

    def mutation(self) -> Mutation:
        """Both of them. Equal decisions have the same one."""
        asked, policy = self.asked, self.policy
        if policy is None:
            return _unowned(asked.api, asked.operation, asked.model)
        told = asked.api, asked.operation, asked.model, policy.name, self.cohort, self.version, self.pool
        return _mutation(told, self.architecture)


@lru_cache(maxsize=4096)
def _mutation(told: tuple[str, ...], architecture: str) -> Mutation:
    _, _, model, _, _, version, pool = told
    pairs = zip(_SET, (model, version, pool, architecture), strict=True)
    return Mutation(tuple((name, safe_value(value)) for name, value in pairs if value), (), _metadata(told))


@lru_cache(maxsize=4096)
def _unowned(*told: str) -> Mutation:
    return Mutation(metadata=_metadata(told))


def _metadata(told: tuple[str, ...]) -> tuple[tuple[str, str], ...]:
    return tuple(pair for pair in zip(_TOLD, told, strict=False) if pair[1])


_SET = (names.MODEL_NAME, names.MODEL_VERSION, names.GPU_POOL, names.GPU_ARCHITECTURE)


_TOLD = ("api", "operation", "model", "policy", "cohort", "version", "gpu_pool")


def decide(
    asked: InferenceRequest,
    headers: Headers,
    snapshot: Snapshot,
    entropy: bytes,
    body_key: str | None = None,
    free: Mapping[str, float] = NO_LOADS,
) -> Decision:
    """Decides one request.

    ``free``: the share of each GPU pool that is free, by its name. It says where a version is served, never which
    version serves; and a request with a sticky key goes where its key says, since there the model may know it.
    ``entropy``: some fresh random bytes, the key of a request that has no sticky one. ``body_key``: what the body holds
    where the policy's ``sticky.body`` points. Raises ``Rejected`` (503) where no GPU pool can serve it.
    """
    match = snapshot.match(asked.model)
    if match is None:
        return Decision(asked)
    policy = match.policy
    sticky = _sticky_key(policy, headers, body_key)
    key = sticky or entropy
    version, cohort = _choose_version(policy, asked, headers, sticky, entropy)
    name = version.name if version else ""
    target = snapshot.place(policy.name, name, key, NO_LOADS if sticky else free)
    if target is None:
        raise Rejected(503, "no_gpu_available", f"no GPU pool can serve the model {asked.model!r} at present")
    return Decision(
        asked,
        policy,
        match.pattern,
        name or asked.version or "",
        cohort,
        target.pool,
        _architecture(policy, snapshot, target),
        version.model_rewrite if version else "",
    )


def matching(version: Version, headers: Headers) -> HeaderMatch | None:
    """The first entry of the version's ``match`` that holds: each of its headers has the value among its own."""
    for entry in version.match:
        if all(value in headers.all(name) for name, value in entry.headers):
            return entry
    return None


def _choose_version(
    policy: Policy, asked: InferenceRequest, headers: Headers, sticky: bytes | None, entropy: bytes
) -> tuple[Version | None, str]:
    if not policy.versions:
        return None, DEFAULT
    for version in policy.answering:
        if version.match and matching(version, headers):
            return version, MATCH
    if policy.allow_pin and (pinned := policy.by_name.get(headers.text(names.MODEL_VERSION) or asked.version or "")):
        return pinned, PIN
    if len(policy.answering) == 1:
        return policy.answering[0], DEFAULT
    if sticky is not None:
        return policy.shares.choose(sticky), STICKY
    if policy.sticky and policy.default:
        return policy.by_name[policy.default], DEFAULT
    return policy.shares.choose(entropy), WEIGHT


def _sticky_key(policy: Policy, headers: Headers, body_key: str | None) -> bytes | None:
    """The key that keeps a user on one version; None where the policy wants none or the request has none."""
    sticky = policy.sticky
    if sticky is None:
        return None
    if sticky.header:
        return headers.get(sticky.header) or None
    if sticky.cookie:
        return cookie(headers, sticky.cookie) or None
    return body_key.encode() if body_key else None


def _architecture(policy: Policy, snapshot: Snapshot, target: Target) -> str:
    """The chosen pool's own architecture; without a pool, what the policy asks for."""
    if target.pool:
        return snapshot.pool_by_name[target.pool].gpu.architecture
    return policy.gpu.architecture if policy.gpu else ""

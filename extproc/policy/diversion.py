"""Where a request goes whose target takes no more: another pool of its version, the policy's fallback, or nowhere."""

from __future__ import annotations

from typing import Protocol

import msgspec

from extproc.errors import Rejected
from extproc.policy.circuit_breaker import Busy
from extproc.policy.decision import FALLBACK, MOVABLE, Decision, architecture_of
from extproc.policy.pool_load import NO_REPORTS
from extproc.policy.snapshot import Policy, Snapshot
from extproc.policy.target import Target
from extproc.policy.target_choice import choose_target

TO_POOL, TO_VERSION, TO_POLICY, REFUSED = "pool", "version", "policy", "refused"
"""What became of a request whose target had no room."""


class Limits(Protocol):
    """Which targets of policies with a circuit breaker take no more requests."""

    def busy(self, policy: Policy, target: Target, grpc: bool, /) -> Busy | None:
        """Why the policy's target takes no request now; None: it does. ``grpc``: of the calls of gRPC."""

    def within(self, policy: Policy, target: Target, grpc: bool, /) -> bool:
        """Whether a target that is ejected has room for a request that nobody else can take."""


class Diverted(msgspec.Struct, frozen=True):
    """a request went elsewhere than decided at first, since no room was there (``inference_diverted_total``)."""

    policy: str
    version: str
    """As decided at first."""
    to: str


class NoRoom(Rejected):
    """No target that might answer takes a request now."""

    def __init__(self, note: Diverted, busy: Busy) -> None:
        """``busy``: of the target that may take one first."""
        if busy.ejected:
            status, code, why = 503, "version_ejected", "its servers fail, or are too slow"
        else:
            status, code, why = 429, "no_room", "its servers have as many requests as they can carry"
        super().__init__(status, code, f"the model can take no request at present: {why}", busy.retry_after)
        self.notes = (note,)


def with_room(
    decision: Decision,
    policy: Policy,
    key: bytes,
    snapshot: Snapshot,
    down: frozenset[str],
    limits: Limits,
    *,
    grpc: bool = False,
) -> tuple[Decision, Diverted | None]:
    """The decision, or another one that its target's limit asks for, and what to note of that.

    ``policy``: that of the decision, which has a breaker; ``key``: that by which it was made; ``down``: clusters of
    targets that no request can reach; ``grpc``: it is a call of gRPC. Raises ``NoRoom``.
    """
    name = decision.version if policy.versions else ""
    first = next(t for t in snapshot.targets[policy.name, name] if t.pool == decision.pool)
    busy = limits.busy(policy, first, grpc)
    if busy is None:
        return decision, None
    tried = [(first, busy)]
    if (found := _target_with_room(policy, name, key, snapshot, down, limits, tried, grpc=grpc)) is not None:
        return _at(decision, policy, found, snapshot), Diverted(policy.name, name, TO_POOL)
    if decision.cohort in MOVABLE:
        other, version = _fallback(policy, key, snapshot)
        again = other is policy and version in ("", name)
        found = None if again else _target_with_room(other, version, key, snapshot, down, limits, [], grpc=grpc)
        if found is not None:
            to = TO_VERSION if other is policy else TO_POLICY
            return _fallen_back(decision, other, found, snapshot), Diverted(policy.name, name, to)
    for target, why in tried:
        if why.ejected and limits.within(policy, target, grpc):
            to = "" if target is first else TO_POOL
            return _at(decision, policy, target, snapshot), Diverted(policy.name, name, to) if to else None
    full = [why for _, why in tried if not why.ejected] or [why for _, why in tried]
    raise NoRoom(Diverted(policy.name, name, REFUSED), min(full, key=lambda why: why.retry_after))


def _target_with_room(
    policy: Policy,
    version: str,
    key: bytes,
    snapshot: Snapshot,
    down: frozenset[str],
    limits: Limits,
    tried: list[tuple[Target, Busy]],
    *,
    grpc: bool,
) -> Target | None:
    """The version's target that takes the request. ``tried``: those that do not; more are added."""
    while True:
        full = down.union(target.cluster_of(grpc=grpc) for target, _ in tried)
        target = choose_target(snapshot.target_hashes[policy.name, version], key, NO_REPORTS, full, grpc)
        if target is None or target.cluster_of(grpc=grpc) in full:
            return None
        busy = None if policy.breaker is None else limits.busy(policy, target, grpc)
        if busy is None:
            return target
        tried.append((target, busy))


def _fallback(policy: Policy, key: bytes, snapshot: Snapshot) -> tuple[Policy, str]:
    """Policy and version that answer in the place of the policy's versions; itself and none where nobody does."""
    breaker = policy.breaker
    if breaker is None or not breaker.fallback_policy:
        return policy, "" if breaker is None else breaker.fallback_version
    other = snapshot.by_name.get(breaker.fallback_policy, policy)
    chosen = other.version_hash.choose(key)
    return other, chosen.name if chosen is not None and other is not policy else ""


def _at(decision: Decision, policy: Policy, target: Target, snapshot: Snapshot) -> Decision:
    """The decision with another target of its version."""
    return decision.at(target.pool, architecture_of(policy, snapshot, target))


def _fallen_back(decision: Decision, policy: Policy, target: Target, snapshot: Snapshot) -> Decision:
    """The decision with a target of the fallback. Another policy gets it as if its first model had been asked for."""
    request, pattern = decision.request, decision.pattern
    version = policy.by_name.get(target.version)
    rewrite = version.model_rewrite if version is not None else ""
    if policy is not decision.policy:
        pattern = policy.models[0]
        rewrite = rewrite or pattern
        request = request.asking_for(pattern)
    return Decision(
        request,
        policy,
        pattern,
        target.version or request.version or "",
        FALLBACK,
        target.pool,
        architecture_of(policy, snapshot, target),
        rewrite,
    )

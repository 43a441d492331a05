"""Which of a version's targets answers a request: by its key, how far and how full the pools are, and what is down."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeAlias

from extproc.policy.pool_load import MIN_FREE_SHARE, NO_REPORTS
from extproc.policy.rendezvous import LAST, RendezvousHash
from extproc.policy.target import NOTHING_DOWN, Target

TargetHash: TypeAlias = RendezvousHash[Target]

_FULL = 1e-100
"""A factor as ``LAST``, which goes before that one."""


def hash_of(key: tuple[str, str], targets: Sequence[Target]) -> TargetHash:
    """By which one of a version's targets is chosen; ``key``: policy and version."""
    return RendezvousHash("\0".join((*key, "pool")), [(t.pool, len(t.endpoints), t) for t in targets])


def choose_target(
    tiers: Sequence[TargetHash],
    key: bytes,
    free_shares: Mapping[str, float] = NO_REPORTS,
    down: frozenset[str] = NOTHING_DOWN,
    grpc: bool = False,
) -> Target | None:
    """The target for a key, pools weighted by their endpoints and free share, those that are ``down`` (clusters) last;
    None: there is no target. ``tiers``: the targets by their distance (``Snapshot.target_hashes``); farther ones only
    where every nearer one is down or full. ``grpc``: for gRPC.
    """
    if not (free_shares or down):
        return tiers[0].choose(key)
    if len(tiers) > 1:
        return _choose_nearest(tiers, key, free_shares, down, grpc)
    return _choose_free(tiers[0], key, free_shares, down, grpc)


def _choose_free(
    found: TargetHash, key: bytes, free_shares: Mapping[str, float], down: frozenset[str], grpc: bool
) -> Target | None:
    return found.choose(key, lambda t: LAST if t.cluster_of(grpc=grpc) in down else free_shares.get(t.pool, 1.0))


def _choose_nearest(
    tiers: Sequence[TargetHash], key: bytes, free_shares: Mapping[str, float], down: frozenset[str], grpc: bool
) -> Target | None:
    """The target in the nearest tier that has one which is neither full nor down; else the nearest that is up; else the
    nearest.
    """
    chosen: list[Target] = []
    for tier in tiers:
        target = tier.choose(key, lambda t: _factor(t, free_shares, down, grpc))
        if target is None:
            continue
        if _factor(target, free_shares, down, grpc) > MIN_FREE_SHARE:
            return target
        chosen.append(target)
    return next((t for t in chosen if t.cluster_of(grpc=grpc) not in down), chosen[0] if chosen else None)


def _factor(target: Target, free_shares: Mapping[str, float], down: frozenset[str], grpc: bool) -> float:
    if target.cluster_of(grpc=grpc) in down:
        return LAST
    share = free_shares.get(target.pool, 1.0)
    return share if share > MIN_FREE_SHARE else _FULL

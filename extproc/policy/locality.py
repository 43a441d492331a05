"""How far apart places are that are named ``region``, ``region/zone`` or ``region/zone/subzone``; the nearest pools."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from extproc.policy.gpu_pool import GpuPool
from extproc.policy.pool_load import MIN_FREE_SHARE
from extproc.policy.rendezvous import LAST, RendezvousHash
from extproc.policy.target import Target

FARTHEST = 3
_FULL = 1e-100
"""A factor as ``LAST``, which goes before that one."""


def distance(here: str, there: str) -> int:
    """0: the same subzone as far as both name one; 1: the same zone; 2: the same region; 3: another, or not known."""
    if not here or not there:
        return FARTHEST
    mine, theirs = here.split("/"), there.split("/")
    for depth, (one, other) in enumerate(zip(mine, theirs, strict=False)):
        if one != other:
            return FARTHEST - depth
    return 0


def by_distance(targets: Sequence[Target], here: str, pools: Mapping[str, GpuPool]) -> tuple[tuple[Target, ...], ...]:
    """``targets`` by the distance of their pools, the nearest first: one tier where no place is known."""
    found: dict[int, list[Target]] = {}
    for target in targets:
        pool = pools.get(target.pool)
        found.setdefault(distance(here, pool.locality if pool else ""), []).append(target)
    return tuple(tuple(found[far]) for far in sorted(found)) or ((),)


def hash_of(key: tuple[str, str], targets: Sequence[Target]) -> RendezvousHash[Target]:
    """By which one of a version's targets is chosen; ``key``: policy and version."""
    return RendezvousHash("\0".join((*key, "pool")), [(t.pool, len(t.endpoints), t) for t in targets])


def choose_free(
    found: RendezvousHash[Target],
    key: bytes,
    free_shares: Mapping[str, float],
    down: frozenset[str],
    *,
    grpc: bool = False,
) -> Target | None:
    """The target for a key, each weighted by its free share as well, those that are down last."""
    return found.choose(key, lambda t: LAST if t.cluster_of(grpc=grpc) in down else free_shares.get(t.pool, 1.0))


def choose_nearest(
    found: Sequence[RendezvousHash[Target]],
    key: bytes,
    free_shares: Mapping[str, float],
    down: frozenset[str],
    *,
    grpc: bool = False,
) -> Target | None:
    """The target for a key in the nearest of these tiers that has one which is neither full nor down; else the nearest
    that is up; else the nearest. ``grpc``: for a call of gRPC.
    """
    chosen: list[Target] = []
    for tier in found:
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

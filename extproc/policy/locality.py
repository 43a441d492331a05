"""How far apart places are that are named ``region``, ``region/zone`` or ``region/zone/subzone``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from extproc.policy.gpu_pool import GpuPool
from extproc.policy.target import Target

FARTHEST = 3


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

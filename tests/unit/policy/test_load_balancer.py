"""Which load balancer a target has: the version's, else the pool's, else the policy's."""

from __future__ import annotations

import pytest

from extproc.policy.gpu import Requirement
from extproc.policy.load_balancer import LEAST_REQUEST, LoadBalancer
from extproc.policy.snapshot import GpuPool, Policy, Snapshot, Version
from tests.unit.render.snapshots import A100

HASH, TURN, LOT = LoadBalancer("consistentHash", "x-user"), LoadBalancer("roundRobin"), LoadBalancer("random")


@pytest.mark.parametrize(
    ("of_version", "of_pool", "expected"), [(None, None, TURN), (None, LOT, LOT), (HASH, LOT, HASH), (HASH, None, HASH)]
)
def test_the_nearest_one_counts(
    of_version: LoadBalancer | None, of_pool: LoadBalancer | None, expected: LoadBalancer
) -> None:
    policy = Policy("chat", versions=(Version("v1", load_balancer=of_version),), gpu=Requirement(), load_balancer=TURN)
    pool = GpuPool("west", A100, ("10.0.0.1:80",), load_balancer=of_pool)
    (target,) = Snapshot((policy,), (pool,)).targets["chat", "v1"]
    assert target.load_balancer == expected


def test_without_pools() -> None:
    versions = Version("v1"), Version("v2", load_balancer=LOT)
    found = Snapshot((Policy("chat", versions=versions),)).targets
    assert [found["chat", name][0].load_balancer for name in ("v1", "v2")] == [LEAST_REQUEST, LOT]


def test_as_text() -> None:
    assert [str(one) for one in (LEAST_REQUEST, HASH)] == ["leastRequest", "consistentHash x-user"]

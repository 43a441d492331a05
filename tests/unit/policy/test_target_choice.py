"""Which target answers: the nearest pools that can serve, by place, load and what is down."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from extproc.policy.gpu import Requirement
from extproc.policy.snapshot import GpuPool, Policy, Snapshot, Version
from extproc.policy.target_choice import choose_target
from tests.unit.render.snapshots import A100

WEST, NORTH, EAST = "us-west1/a", "us-west1/b", "us-east1/a"
FULL = 0.05


def snapshot(locality: str, *places: str) -> Snapshot:
    pools = tuple(GpuPool(f"p{n}", A100, (f"10.0.{n}.1:80",), place) for n, place in enumerate(places))
    return Snapshot((Policy("chat", versions=(Version("v1"),), gpu=Requirement()),), pools, locality=locality)


def chosen(of: Snapshot, down: tuple[int, ...] = (), **free: float) -> set[str]:
    clusters = frozenset(f"chat/v1/p{n}" for n in down)
    keys = (str(number).encode() for number in range(64))
    found = {choose_target(of.target_hashes["chat", "v1"], key, free, clusters) for key in keys}
    return {target.pool for target in found if target}


def test_the_nearest_answers_and_the_others_while_it_can_not() -> None:
    here = snapshot(WEST, EAST, NORTH, WEST)
    assert [[t.pool for t in tier] for tier in here.tiers["chat", "v1"]] == [["p2"], ["p1"], ["p0"]]
    assert chosen(here) == {"p2"}
    assert chosen(here, p2=0.5) == {"p2"}
    assert chosen(here, p2=FULL) == {"p1"}
    assert chosen(here, (2,)) == {"p1"}
    assert chosen(here, (2,), p1=FULL) == {"p0"}
    assert chosen(here, (1, 2), p0=FULL) == {"p0"}
    assert chosen(here, p0=FULL, p1=FULL, p2=FULL) == {"p2"}
    assert chosen(here, (2,), p0=FULL, p1=FULL) == {"p1"}
    assert chosen(here, (0, 1, 2)) == {"p2"}


def test_pools_of_one_place_share() -> None:
    here = snapshot(WEST, WEST, WEST, EAST)
    assert chosen(here) == {"p0", "p1"}
    assert chosen(here, p0=FULL) == {"p1"}
    assert chosen(here, (0,), p1=FULL) == {"p2"}
    assert chosen(here, (0,), p1=FULL, p2=FULL) == {"p1"}


@pytest.mark.parametrize("places", [("", ""), (WEST, EAST)])
def test_without_places_or_without_its_own_all_share(places: tuple[str, str]) -> None:
    assert chosen(snapshot("", *places)) == {"p0", "p1"}
    assert chosen(snapshot(WEST, "", "")) == {"p0", "p1"}


@pytest.mark.parametrize("places", [(WEST, NORTH), (WEST, WEST)])
def test_calls_of_grpc_go_by_their_own_servers(places: tuple[str, str]) -> None:
    both = tuple(
        GpuPool(f"p{n}", A100, (f"10.0.{n}.1:80",), place, grpc_endpoints=(f"10.0.{n}.1:81",))
        for n, place in enumerate(places)
    )
    policy = Policy("chat", versions=(Version("v1"),), gpu=Requirement())
    tiers = Snapshot((policy,), both, locality=WEST).target_hashes["chat", "v1"]

    def found(down: str, *, grpc: bool) -> set[str]:
        targets = (choose_target(tiers, b"%d" % n, {}, frozenset((down,)), grpc) for n in range(64))
        return {target.pool for target in targets if target}

    assert found("chat/v1/p0#grpc", grpc=True) == found("chat/v1/p0", grpc=False) == {"p1"}
    assert "p0" in found("chat/v1/p0", grpc=True)
    assert "p0" in found("chat/v1/p0#grpc", grpc=False)


POOLS = (
    GpuPool("a100-west", A100, ("10.0.0.1:8000", "10.0.0.2:8000")),
    GpuPool("l4-east", A100, ("10.0.0.3:8000",)),
)


@given(st.binary())
def test_the_chosen_target_is_always_the_same_one(key: bytes) -> None:
    snapshot = Snapshot((Policy("p", gpu=Requirement()),), POOLS)
    chosen = choose_target(snapshot.target_hashes["p", ""], key)
    assert chosen in snapshot.targets["p", ""]
    assert choose_target(snapshot.target_hashes["p", ""], key) == chosen


def test_free_pools_are_preferred_by_their_share() -> None:
    found = Snapshot((Policy("p", gpu=Requirement()),), POOLS).target_hashes["p", ""]
    keys = [str(n).encode() for n in range(3000)]

    def share(free: dict[str, float]) -> float:
        chosen = [choose_target(found, key, free) for key in keys]
        return sum(target is not None and target.pool == "l4-east" for target in chosen) / len(keys)

    assert share({}) == pytest.approx(1 / 3, abs=0.03), "by the number of endpoints"
    assert share({"a100-west": 0.5}) == pytest.approx(1 / 2, abs=0.03), "a pool without a report is free"
    assert share({"a100-west": 1.0, "l4-east": 0.5}) == pytest.approx(0.5 / 2.5, abs=0.03)


def test_there_is_no_target_where_no_pool_fits() -> None:
    found = Snapshot((Policy("p", gpu=Requirement("h200")),), POOLS)
    assert choose_target(found.target_hashes["p", ""], b"key") is None

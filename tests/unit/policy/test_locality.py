"""The nearest pools that can serve: by place, load and what is down."""

from __future__ import annotations

import pytest

from extproc.policy.gpu import Requirement
from extproc.policy.locality import distance
from extproc.policy.snapshot import GpuPool, Policy, Snapshot, Version
from tests.unit.render.snapshots import A100

WEST, NORTH, EAST = "us-west1/a", "us-west1/b", "us-east1/a"
FULL = 0.05


@pytest.mark.parametrize(
    ("here", "there", "expected"),
    [
        ("us", "us", 0),
        ("us/a", "us/a", 0),
        ("us/a", "us", 0),
        ("us/a/1", "us/a/2", 1),
        ("us/a", "us/b", 2),
        ("us/a", "eu/a", 3),
        ("", "us", 3),
        ("us", "", 3),
    ],
)
def test_distances(here: str, there: str, expected: int) -> None:
    assert distance(here, there) == expected
    assert distance(there, here) == expected


def snapshot(locality: str, *places: str) -> Snapshot:
    pools = tuple(GpuPool(f"p{n}", A100, (f"10.0.{n}.1:80",), place) for n, place in enumerate(places))
    return Snapshot((Policy("chat", versions=(Version("v1"),), gpu=Requirement()),), pools, locality=locality)


def chosen(of: Snapshot, down: tuple[int, ...] = (), **free: float) -> set[str]:
    clusters = frozenset(f"chat/v1/p{n}" for n in down)
    keys = (str(number).encode() for number in range(64))
    found = {of.choose_target("chat", "v1", key, free, clusters) for key in keys}
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

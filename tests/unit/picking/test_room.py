"""How many of those that wait may go where."""

from __future__ import annotations

import math

import pytest

from extproc.picking.loads import EndpointLoads, unknown_table
from extproc.picking.room import Room
from extproc.policy.picking import Saturation

ALL = b"\1\1\1"


def loads(**rows: list[float]) -> EndpointLoads:
    found = EndpointLoads(unknown_table(3))
    found.age[:] = 0.1
    for name, row in rows.items():
        getattr(found, name)[:] = row
    return found


def places(room: Room, place: int) -> int:
    """How many have room there one after the other, a hundred at most."""
    for count in range(100):
        if not room.marks(ALL)[place]:
            return count
        room.sent(place)
    return 100


@pytest.mark.parametrize(
    ("waiting", "sent", "bound", "expected"),
    [
        (0, 0, 5, 6),
        (5, 0, 5, 1),
        (6, 0, 5, 0),
        (2, 3, 5, 1),
        (2, 4, 5, 0),
        (0, 0, 0, 1),
        (0, 0, 0.5, 1),
        (1, 0, 0.5, 0),
    ],
)
def test_as_many_as_bring_it_above_the_threshold(waiting: float, sent: float, bound: float, expected: int) -> None:
    found = loads(waiting=[waiting, 9, 0], sent_since=[sent, 0, 0])
    assert places(Room(Saturation(waiting=bound), found), 0) == expected


def test_a_full_cache_takes_none() -> None:
    assert Room(Saturation(), loads(waiting=[0] * 3, cache=[0.9, 0.8, math.nan])).marks(b"") == b"\0\1\1"


def test_a_server_that_tells_only_what_runs_has_no_queue() -> None:
    assert places(Room(Saturation(), loads(running=[90] * 3, sent_since=[4, 0, 0])), 0) == 2


@pytest.mark.parametrize(("stale", "expected"), [(False, 100), (True, 0)])
def test_of_whom_nothing_new_is_known(stale: bool, expected: int) -> None:
    found = loads(waiting=[0] * 3)
    found.age[:] = 2.1
    assert places(Room(Saturation(stale=stale), found), 1) == expected


def test_only_those_that_are_ready() -> None:
    room = Room(Saturation(), loads(waiting=[0, 9, 0]))
    assert room.marks(b"") == room.marks(ALL) == b"\1\0\1"
    assert room.marks(b"\0\1\1") == b"\0\0\1"

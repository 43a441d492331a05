"""Which endpoints of a target may have a request."""

from __future__ import annotations

import pytest

from extproc.exchange.place import NOBODY, Place
from extproc.picking.picker import Picker
from extproc.policy.picking import Picking

ADDRESSES = ("10.0.0.1:80", "10.0.0.2:80", "[::1]:80")


@pytest.fixture
def place() -> Place:
    return Place("chat", ADDRESSES, Picker("chat", Picking()))


@pytest.mark.parametrize(
    ("subset", "marks"),
    [
        (None, b""),
        ((), b"\0\0\0"),
        (("10.0.0.2:80",), b"\0\1\0"),
        (("10.0.0.2", "::1"), b"\0\1\1"),
        (("10.0.0.2:81", "10.0.0"), b"\0\0\0"),
    ],
)
def test_what_a_subset_allows(place: Place, subset: tuple[str, ...] | None, marks: bytes) -> None:
    assert place.hinted(subset) == marks


def test_those_to_be_avoided_have_requests_where_no_other_may(place: Place) -> None:
    unreachable, avoided = frozenset(ADDRESSES[:1]), frozenset(ADDRESSES[1:2])
    assert place.candidates(NOBODY, NOBODY, b"").ready == b""
    found = place.candidates(unreachable, avoided, b"")
    assert found.ready == b"\0\0\1"
    assert place.candidates(unreachable, avoided, b"\1\1\1") is found
    assert place.candidates(unreachable, avoided, b"\1\1\0").ready == b"\0\1\1"

"""How far apart places are."""

from __future__ import annotations

import pytest

from extproc.policy.locality import distance


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

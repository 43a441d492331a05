"""Marks of endpoints."""

from __future__ import annotations

import pytest

from extproc.picking.candidates import both


@pytest.mark.parametrize(
    ("first", "second", "found"),
    [
        (b"\1\1\0\0", b"\1\0\1\0", b"\1\0\0\0"),
        (b"\0\1", b"\1\1", b"\0\1"),
        (b"", b"", b""),
        (b"\1" * 1000, b"\0\1" * 500, b"\0\1" * 500),
    ],
)
def test_both_have_a_mark(first: bytes, second: bytes, found: bytes) -> None:
    assert both(first, second) == both(second, first) == found

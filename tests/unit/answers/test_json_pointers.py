"""Pointers: what they point at, in documents of any form."""

from __future__ import annotations

from typing import Any

import pytest

from extproc.answers.json_pointers import ELEMENTS, at, keys_of, nodes, parts_of, place

DOCUMENT = {"a": {"b": 1}, "list": [{"x": {"y": 2}}, {}, 3, {"x": {"y": 4}}]}


@pytest.mark.parametrize(
    ("pointer", "found"),
    [
        ("/a/b", [1]),
        ("/a/b/c", [None]),
        ("/none", [None]),
        ("/list/*/x/y", [2, None, None, 4]),
        ("/list/*", DOCUMENT["list"]),
        ("/a/*/b", []),
    ],
)
def test_what_a_pointer_points_at(pointer: str, found: list[Any]) -> None:
    assert list(nodes(DOCUMENT, parts_of(pointer))) == found


def test_a_pointer_is_taken_apart() -> None:
    assert (place("/a/b/c"), place("/a"), place("")) == (("a", ("b", "c")), ("a", ()), ("", ()))
    assert at(DOCUMENT, keys_of("/a/b")) == 1
    assert at(DOCUMENT, ()) is DOCUMENT


def test_elements_are_bounded() -> None:
    assert len(nodes({"list": [{}] * (2 * ELEMENTS)}, parts_of("/list/*/x"))) == ELEMENTS

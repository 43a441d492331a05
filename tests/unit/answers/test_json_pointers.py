"""Pointers: what they point at, in documents of any form."""

from __future__ import annotations

from typing import Any

import pytest

from extproc.answers.json_pointers import (
    MAX_ELEMENTS,
    any_set,
    element_path,
    keys_of,
    parts_of,
    split_path,
    value_at,
    values_at,
)

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
    assert list(values_at(DOCUMENT, parts_of(pointer))) == found


def test_a_pointer_is_taken_apart() -> None:
    assert (split_path("/a/b/c"), split_path("/a"), split_path("")) == (("a", ("b", "c")), ("a", ()), ("", ()))
    assert value_at(DOCUMENT, keys_of("/a/b")) == 1
    assert value_at(DOCUMENT, ()) is DOCUMENT


def test_elements_are_bounded() -> None:
    assert len(values_at({"list": [{}] * (2 * MAX_ELEMENTS)}, parts_of("/list/*/x"))) == MAX_ELEMENTS


@pytest.mark.parametrize(
    ("document", "pointer", "found"),
    [
        ({"a": 1}, "/a", True),
        ({"a": 0}, "/a", False),
        ({"a": {"b": 1}}, "/a/b", True),
        ({"a": {"b": 0}}, "/a/b", False),
        ({"a": {}}, "/a/b", False),
        ({"l": [{"a": 0}, {"a": 1}]}, "/l/*/a", True),
        ({"l": [{"a": 0}, {}, 7]}, "/l/*/a", False),
        ({"l": [{"a": {"b": 1}}]}, "/l/*/a/b", True),
        ({"l": [{"a": {"b": 0}}]}, "/l/*/a/b", False),
        ({"l": {"a": 1}}, "/l/*/a", False),
        ({"l": [{}] * 255 + [{"a": 1}]}, "/l/*/a", True),
        ({"l": [{}] * 256 + [{"a": 1}]}, "/l/*/a", False),
    ],
)
def test_whether_anything_is_set(document: Any, pointer: str, found: bool) -> None:
    assert any_set(document, [element_path(pointer)]) is found
    assert any_set(document, [element_path("/none"), element_path(pointer), element_path("/no/*/thing")]) is found


def test_1024_elements_are_read() -> None:
    assert len(values_at({"l": [{}] * 1025}, parts_of("/l/*/x"))) == 1024

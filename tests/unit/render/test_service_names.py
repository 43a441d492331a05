"""Names of Services: DNS labels, and different ones for different parts."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from extproc.render.service_names import MAX_LENGTH, label

LABEL = re.compile(r"[a-z]([-a-z0-9]{0,61}[a-z0-9])?")
PARTS = st.lists(st.text(st.characters(codec="utf-8"), max_size=40), min_size=1, max_size=3)


@pytest.mark.parametrize(
    ("parts", "name"), [(("chat", "v1"), "chat-v1"), (("chat", "", "west"), "chat-west"), (("a",), "a")]
)
def test_a_name_that_is_a_label_stays(parts: tuple[str, ...], name: str) -> None:
    assert label(*parts) == name


@pytest.mark.parametrize(
    ("parts", "start"),
    [
        (("chat", "V1.0"), "chat-v1-0-"),
        (("2e5",), "s-2e5-"),
        (("chat", "-v1-"), "chat--v1-"),
        (("模型",), "s-"),
        (("a" * 64,), "a" * 54 + "-"),
    ],
)
def test_other_names_are_cleaned_and_marked(parts: tuple[str, ...], start: str) -> None:
    found = label(*parts)
    assert found.startswith(start)
    assert re.fullmatch(r"[0-9a-f]{8}", found[-8:])


@given(PARTS)
def test_every_name_is_a_label(parts: list[str]) -> None:
    found = label(*parts)
    assert LABEL.fullmatch(found)
    assert len(found) <= MAX_LENGTH
    assert label(*parts) == found


@given(PARTS, PARTS)
def test_different_names_stay_different(one: list[str], other: list[str]) -> None:
    same = "-".join(filter(None, one)) == "-".join(filter(None, other))
    assert (label(*one) == label(*other)) is same


def test_the_longest_label_is_kept() -> None:
    assert label("a" * MAX_LENGTH) == "a" * MAX_LENGTH
    assert len(label("a" * (MAX_LENGTH + 1))) <= MAX_LENGTH

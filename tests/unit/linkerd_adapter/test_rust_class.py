"""Classes and escapes of Rust's patterns, each as an expression of Python's that matches exactly one character."""

from __future__ import annotations

import re

import pytest
from linkerd_adapter.rust_class import MAX_NESTING, Cursor, RefusedError, UnjudgedError, bracketed, escape

ASCII = [chr(number) for number in range(128)]


def matched(expression: str) -> str:
    return "".join(c for c in ASCII if re.fullmatch(expression, c))


def of_class(pattern: str, flags: str = "u") -> str:
    """The ASCII characters that a class matches; all of the pattern must be read."""
    cursor = Cursor(pattern)
    cursor.flags = frozenset(flags)
    expression, height = bracketed(cursor)
    assert cursor.at == len(pattern)
    assert height >= 1
    return matched(expression)


@pytest.mark.parametrize(
    ("pattern", "characters"),
    [
        ("[abc]", "abc"),
        ("[a-c]", "abc"),
        ("[c-a]", None),
        ("[]a]", "]a"),
        ("[^]]", "^]"),
        ("[a-]", "-a"),
        ("[-a]", "-a"),
        ("[--/]", "-/"),
        ("[a&&b]", ""),
        ("[a-d&&[^b]]", "acd"),
        ("[a-d--b]", "acd"),
        ("[a-c~~b-d]", "ad"),
        ("[[a-b][d-e]]", "abde"),
        ("[[:digit:]]", "0123456789"),
        ("[[:nothing:]]", ":nothig"),
        (r"[\d]", "0123456789"),
        (r"[\x41\u0042\U00000043\x{44}]", "ABCD"),
        (r"[\-\]\\]", "-]\\"),
        (r"[\n\t]", "\t\n"),
    ],
)
def test_what_a_class_matches(pattern: str, characters: str | None) -> None:
    if characters is None:
        with pytest.raises(RefusedError):
            of_class(pattern)
    elif pattern.startswith("[^"):
        assert set(of_class(pattern)) == set(ASCII) - {"]"}
    else:
        assert of_class(pattern) == "".join(sorted(characters))


def test_negated_posix_classes() -> None:
    assert set(of_class("[[:^alpha:]]")) == {c for c in ASCII if not c.isalpha()}


def test_white_space_in_a_class_counts_unless_the_flag_x_is_set() -> None:
    assert of_class("[a b]") == " ab"
    assert of_class("[a b]", "ux") == "ab"
    assert of_class("[a - c]", "ux") == "abc"
    assert of_class("[a # comment ]\n]", "ux") == "a"


@pytest.mark.parametrize(
    "pattern",
    ["[", "[a", "[a-", "[^", "[]", "[[a]", r"[\b]", r"[\z]", r"[\1]", r"[\q]", "[\\", r"[a-\d]"],
)
def test_what_is_refused(pattern: str) -> None:
    with pytest.raises(RefusedError):
        of_class(pattern)


def test_how_deep_classes_may_be() -> None:
    assert of_class("[" * MAX_NESTING + "a" + "]" * MAX_NESTING) == "a"
    with pytest.raises(RefusedError, match="nested deeper"):
        of_class("[" * (MAX_NESTING + 1) + "a" + "]" * (MAX_NESTING + 1))


@pytest.mark.parametrize(
    ("pattern", "characters"),
    [
        (r"\.", "."),
        (r"\x2e", "."),
        (r"\x{2E}", "."),
        (r"\u002e", "."),
        (r"\U0000002e", "."),
        (r"\t", "\t"),
        (r"\#", "#"),
    ],
)
def test_escapes_of_one_character(pattern: str, characters: str) -> None:
    cursor = Cursor(pattern)
    assert matched(escape(cursor)) == characters
    assert cursor.at == len(pattern)


def test_white_space_is_unicodes() -> None:
    r"""Python's ``\s`` has the separators 0x1C to 0x1F besides."""
    spaces = escape(Cursor(r"\s"))
    assert matched(spaces) == "\t\n\v\f\r "
    assert all(re.fullmatch(spaces, c) for c in "\x85\xa0\u2003\u3000")
    assert set(matched(escape(Cursor(r"\S")))) == set(ASCII) - set("\t\n\v\f\r ")


@pytest.mark.parametrize(
    "pattern", ["\\", r"\x", r"\x4", r"\x{}", r"\ud800", r"\U00110000", r"\1", r"\Q", r"\p", r"\pq"]
)
def test_escapes_that_are_refused(pattern: str) -> None:
    with pytest.raises(RefusedError):
        escape(Cursor(pattern))


@pytest.mark.parametrize("pattern", [r"\pL", r"\P{Greek}", r"\p{Nonsense}"])
def test_properties_can_not_be_judged(pattern: str) -> None:
    with pytest.raises(UnjudgedError, match="property"):
        escape(Cursor(pattern))


def test_a_cursor_reads_only_what_stands_there() -> None:
    cursor = Cursor("ab")
    assert not cursor.take("b")
    assert (cursor.take("a"), cursor.peek(), cursor.at) == (True, "b", 1)
    assert (cursor.take("b"), cursor.peek()) == (True, "")
    cursor.skip()
    assert cursor.at == 2

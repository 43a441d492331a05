"""The tokens of CEL, as its specification has them, and what Envoy refuses in them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from extproc.lint.cel_vocabulary import FUNCTIONS, METHODS, OF_RE, content, tokens


def test_tokens_of_each_kind_and_what_is_passed_over() -> None:
    assert tokens("a1._b >= 0x1F // the rest\n&& 'c\\'d'?1.5e3:[2u]") == [
        *(("name", "a1"), ("sign", "."), ("name", "_b"), ("sign", ">="), ("number", "0x1F"), ("sign", "&&")),
        *(("text", "'c\\'d'"), ("sign", "?"), ("number", "1.5e3"), ("sign", ":")),
        *(("sign", "["), ("number", "2u"), ("sign", "]")),
    ]
    assert tokens(" \t\r\n") == []


@pytest.mark.parametrize(
    "text",
    [
        *("'a'", '"a"', "b'a'", "r'\\d'", "R'\\d'", "'''a\nb'''", '"""a"b"""', 'r"""a\nb"""'),
        *("'\\n\\x41\\101\\u00e9\\U0001F600'", "'\\\\'", "b'\\xff'", "''"),
    ],
)
def test_a_text_is_one_token(text: str) -> None:
    assert tokens(text) == [("text", text)]


@pytest.mark.parametrize(
    "expression", ["'a", "'a\nb'", "'\\q'", "'\\400'", "'\\x1'", "a = b", "a & b", "é", "#", "'a' $"]
)
def test_what_is_no_token(expression: str) -> None:
    with pytest.raises(ValueError, match="can't be read"):
        tokens(expression)


@pytest.mark.parametrize("expression", ["'\\ud800'", "'\\U00110000'", "b'\\u0041'", "B'\\U00000041'"])
def test_escapes_for_no_character(expression: str) -> None:
    with pytest.raises(ValueError, match="an escape for no character"):
        tokens(expression)


def test_an_escaped_backslash_before_a_letter_is_no_escape() -> None:
    assert tokens("'\\\\ud800'") == [("text", "'\\\\ud800'")]


def test_a_raw_text_does_not_end_with_a_backslash() -> None:
    with pytest.raises(ValueError, match="ends with a backslash"):
        tokens("r'a\\'")
    assert tokens("r'a\\\\'") == [("text", "r'a\\\\'")]


@pytest.mark.parametrize(
    ("number", "fits"),
    [
        ("9223372036854775807", True),
        ("9223372036854775808", False),
        ("-9223372036854775808", True),
        ("-9223372036854775809", False),
        ("18446744073709551615u", True),
        ("18446744073709551616u", False),
        ("0x7fffffffffffffff", True),
        ("0x8000000000000000", False),
        ("0xffffffffffffffffU", True),
        ("0" * 41, False),
        ("99999999999999999999.5", True),
        ("1e400", True),
    ],
)
def test_whole_numbers_have_64_bits(number: str, fits: bool) -> None:
    if fits:
        assert tokens(number)[-1][0] == "number"
    else:
        with pytest.raises(ValueError, match="too large"):
            tokens(number)


@pytest.mark.parametrize(
    ("text", "inside"),
    [("'a b'", "a b"), ('"a"', "a"), ("r'\\d'", "\\d"), ("b'a'", "a"), ("'a\\\\b'", "a\\b"), ("''", "")],
)
def test_the_content_of_a_text(text: str, inside: str) -> None:
    assert content(text) == inside


def test_functions_have_one_value_more_than_the_methods_of_their_name() -> None:
    assert all(tuple(count + 1 for count in METHODS[name]) == FUNCTIONS[name] for name in METHODS if name in FUNCTIONS)
    assert set(OF_RE) == {"extract", "capture", "captureN"}


@given(st.text(max_size=60))
def test_any_text_is_read_or_refused_and_nothing_is_lost(expression: str) -> None:
    try:
        found = tokens(expression)
    except ValueError as error:
        assert str(error)  # noqa: PT017
    else:
        position = 0
        for _, written in found:
            position = expression.index(written, position) + len(written)

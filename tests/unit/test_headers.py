"""The multimap keeps what came, and safe values are safe and can be undone."""

from __future__ import annotations

from urllib.parse import unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from extproc.headers import GPU_POOL, ROUTING, Headers, safe_value

NAMES = st.sampled_from(["a", "b", "x-user", ":path"])
PAIRS = st.lists(st.tuples(NAMES, st.binary(max_size=4)), max_size=8)


@given(PAIRS, NAMES)
def test_a_multimap_keeps_every_value_in_order(pairs: list[tuple[str, bytes]], name: str) -> None:
    headers = Headers(pairs)
    values = [v for n, v in pairs if n == name]
    assert list(headers) == pairs
    assert len(headers) == len(pairs)
    assert headers.all(name) == values
    assert headers.get(name) == (values[0] if values else None)
    assert (name in headers) == bool(values)


@given(PAIRS, PAIRS)
def test_equal_where_the_pairs_are(some: list[tuple[str, bytes]], others: list[tuple[str, bytes]]) -> None:
    assert (Headers(some) == Headers(others)) == (some == others)
    assert hash(Headers(some)) == hash(Headers(iter(some)))


def test_not_equal_to_its_pairs() -> None:
    assert Headers([("a", b"1")]) != (("a", b"1"),)


def test_names_as_typed() -> None:
    headers = Headers.of([("X-User", "Zoë"), ("x-USER", b"\xff")])
    assert headers.all("x-user") == ["Zoë".encode(), b"\xff"]
    assert repr(headers) == r"Headers([('x-user', b'Zo\xc3\xab'), ('x-user', b'\xff')])"


@given(st.binary())
def test_text_loses_nothing(value: bytes) -> None:
    assert Headers([("a", value)]).text("a").encode("latin-1") == value


def test_text_of_what_is_not_there_is_empty() -> None:
    assert Headers().text("a") == ""


def test_routing_headers_are_lower_case_and_unique() -> None:
    assert GPU_POOL in ROUTING
    assert len({name.lower() for name in ROUTING} & set(ROUTING)) == len(ROUTING)


@given(st.text())
def test_a_safe_value_is_visible_ascii_and_can_be_undone(text: str) -> None:
    value = safe_value(text)
    assert all("\x21" <= character <= "\x7e" for character in value)
    assert unquote(value, errors="surrogatepass") == text


@given(st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E, exclude_characters="%")))
def test_visible_ascii_stays(text: str) -> None:
    assert safe_value(text) == text


@given(st.text(), st.text())
def test_safe_values_of_two_texts_differ(one: str, other: str) -> None:
    assert (safe_value(one) == safe_value(other)) == (one == other)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("llama-3 8b", "llama-3%208b"),
        ("50%", "50%25"),
        ("a\r\nx: y", "a%0D%0Ax:%20y"),
        ("modèle", "mod%C3%A8le"),
    ],
)
def test_what_is_unsafe_is_percent_encoded(text: str, value: str) -> None:
    assert safe_value(text) == value

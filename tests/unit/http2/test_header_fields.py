"""One field: its kinds, its size, whether it is valid; and fields together (RFC 9113 §8.2, §8.3)."""

from __future__ import annotations

import string

import pytest

from extproc.http2 import header_fields
from extproc.http2.header_fields import (
    ANY,
    AUTHORITY,
    LENGTH,
    METHOD,
    PATH,
    PSEUDO,
    REGULAR,
    REQUIRED,
    SCHEME,
    Field,
    kinds_of,
)

GET = [Field(b":method", b"GET"), Field(b":scheme", b"http"), Field(b":path", b"/")]
HOST = Field(b":authority", b"a")
X = Field(b"x", b"1")


def valid(name: bytes, value: bytes = b"1") -> bool:
    return Field(name, value).not_after & ANY == 0


def test_sizes_are_those_of_the_rfc() -> None:
    assert Field(b"custom-key", b"custom-header").size == 55  # RFC 7541 C.2.1
    assert Field(b"a", b"").size == 33


@pytest.mark.parametrize(
    ("name", "kinds"),
    [
        (b":method", METHOD),
        (b":scheme", SCHEME),
        (b":path", PATH),
        (b":authority", AUTHORITY),
        (b"content-length", LENGTH | REGULAR),
        (b"content-type", REGULAR),
    ],
)
def test_kinds(name: bytes, kinds: int) -> None:
    assert Field(name, b"1").kinds == kinds
    assert valid(name)


def test_kinds_are_bits_of_their_own() -> None:
    assert [1 << n for n in range(7)] == [METHOD, SCHEME, PATH, AUTHORITY, LENGTH, REGULAR, ANY]
    assert REQUIRED == METHOD | SCHEME | PATH
    assert PSEUDO == REQUIRED | AUTHORITY


@pytest.mark.parametrize("name", [b":status", b":protocol", b":", b":Method"])
def test_other_pseudo_headers_are_refused(name: bytes) -> None:
    assert not valid(name)


def test_pseudo_headers_but_for_the_authority_need_a_value() -> None:
    assert [valid(name, b"") for name in (b":method", b":scheme", b":path", b":authority")] == [False] * 3 + [True]


@pytest.mark.parametrize("value", [b"0", b"12", b"9" * 18])
def test_lengths(value: bytes) -> None:
    assert valid(b"content-length", value)


@pytest.mark.parametrize("value", [b"", b"-1", b"+1", b"1.0", b" 1", b"0x1", "\u0661".encode(), b"9" * 19, b"9" * 20])
def test_lengths_that_are_none(value: bytes) -> None:
    assert not valid(b"content-length", value)


def test_names_have_no_upper_case_and_no_separators() -> None:
    allowed = set(string.ascii_lowercase + string.digits + "!#$%&'*+-.^_`|~")  # RFC 9110 §5.6.2
    assert {chr(n) for n in range(256) if valid(b"x" + bytes((n,)))} == allowed
    assert not valid(b"")


@pytest.mark.parametrize("name", sorted(header_fields._CONNECTION_SPECIFIC))
def test_fields_of_a_connection_are_refused(name: bytes) -> None:
    assert not valid(name, b"x")


def test_the_fields_of_a_connection_are_those_of_the_rfc() -> None:
    """§8.2.2."""
    assert {
        *(b"connection", b"proxy-connection", b"keep-alive", b"transfer-encoding", b"upgrade")
    } == header_fields._CONNECTION_SPECIFIC


@pytest.mark.parametrize(("value", "found"), [(b"trailers", True), (b"gzip", False), (b"", False)])
def test_te_says_trailers(value: bytes, found: bool) -> None:
    assert valid(b"te", value) == found


@pytest.mark.parametrize("name", [b"x", b":path", b":authority"])
def test_values_have_no_line_ends_and_no_zeros(name: bytes) -> None:
    refused = {n for n in range(256) if not valid(name, b"a" + bytes((n,)) + b"b")}
    assert refused == {0, 10, 13}


def test_a_request_in_order() -> None:
    assert kinds_of([]) == ANY
    assert kinds_of(GET) == ANY | REQUIRED
    assert kinds_of([*GET[::-1], HOST, X, X]) == ANY | PSEUDO | REGULAR
    assert kinds_of([*GET, X, Field(b"content-length", b"1"), X]) == ANY | REQUIRED | REGULAR | LENGTH


@pytest.mark.parametrize(
    "fields",
    [
        [*GET, GET[0]],
        [*GET, HOST, HOST],
        [X, *GET],
        [*GET[:2], X, GET[2]],
        [*GET, X, HOST],
        [Field(b"content-length", b"1"), *GET],
        [*GET, Field(b"content-length", b"1"), Field(b"content-length", b"1")],
        [*GET, Field(b"Upper", b"1")],
        [Field(b":status", b"200")],
    ],
)
def test_what_has_no_kinds(fields: list[Field]) -> None:
    assert kinds_of(fields) == 0

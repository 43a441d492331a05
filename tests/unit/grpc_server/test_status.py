"""Status codes, and trailers as another HPACK implementation reads them."""

from __future__ import annotations

import grpc
import pytest
from hpack import Decoder

from extproc.grpc_server.status import (
    MAX_DETAILS,
    OK_TRAILERS,
    Abort,
    StatusCode,
    literal_field,
    status_trailers,
)


def test_status_codes_are_those_of_grpc() -> None:
    assert {code.name: int(code) for code in StatusCode} == {
        code.name: code.value[0] for code in grpc.StatusCode if code.name in StatusCode.__members__
    }


def test_an_abort_has_a_status_and_details() -> None:
    abort = Abort(StatusCode.NOT_FOUND, "not here")
    assert (abort.code, abort.details, str(abort)) == (StatusCode.NOT_FOUND, "not here", "not here")


def read(block: bytes) -> list[tuple[bytes, bytes]]:
    return [(name, value) for name, value in Decoder().decode(block, raw=True)]


def test_ok_has_no_message() -> None:
    assert read(OK_TRAILERS) == [(b"grpc-status", b"0")]
    assert read(status_trailers(StatusCode.INTERNAL, "")) == [(b"grpc-status", b"13")]


@pytest.mark.parametrize(
    ("details", "message"),
    [
        ("not here", b"not here"),
        ("100 %", b"100 %25"),
        ("a\r\nb: c", b"a%0D%0Ab: c"),
        ("für", b"f%C3%BCr"),
        ("\ud800", b"?"),
        ("x" * (MAX_DETAILS + 1), b"x" * MAX_DETAILS),
    ],
    ids=["plain", "percent", "line break", "umlaut", "lone surrogate", "too long"],
)
def test_details_are_percent_encoded(details: str, message: bytes) -> None:
    assert read(status_trailers(StatusCode.NOT_FOUND, details)) == [(b"grpc-status", b"5"), (b"grpc-message", message)]


@pytest.mark.parametrize("size", [0, 1, 126, 127, 128, 254, 255, 256, 3 * MAX_DETAILS, 20_000])
def test_a_literal_field_of_any_length(size: int) -> None:
    assert read(literal_field(b"name", b"v" * size)) == [(b"name", b"v" * size)]


def test_a_literal_field_is_not_indexed() -> None:
    decoder = Decoder()
    decoder.decode(literal_field(b"name", b"value"))
    assert len(decoder.header_table.dynamic_entries) == 0

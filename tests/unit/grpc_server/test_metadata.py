"""A call's custom metadata: which headers are the caller's, and what binary values are (PROTOCOL-HTTP2.md)."""

from __future__ import annotations

import pytest

from extproc.grpc_server.metadata import custom_metadata
from extproc.http2.header_fields import Field
from extproc.http2.request_headers import HeaderBlockReader
from tests.http2.wire import REQUEST, block


def metadata(*fields: tuple[bytes, bytes]) -> object:
    return custom_metadata([Field(name, value) for name, value in fields])


def test_headers_of_grpc_and_pseudo_headers_are_none() -> None:
    own = [("grpc-timeout", "1S"), ("grpc-encoding", "gzip"), ("grpc-accept-encoding", "identity"), ("x", "1")]
    head = HeaderBlockReader().read(block([*REQUEST, *own]))
    assert not head.malformed
    assert custom_metadata(head.fields) == (("x", "1"),)


def test_order_and_repeated_names_are_kept() -> None:
    assert metadata((b"b", b"2"), (b"a", b"1"), (b"b", b"3")) == (("b", "2"), ("a", "1"), ("b", "3"))


def test_other_names_that_begin_as_grpcs_are_the_callers() -> None:
    assert metadata((b"grpc-previous-rpc-attempts", b"1"), (b"tea", b"x")) == (
        ("grpc-previous-rpc-attempts", "1"),
        ("tea", "x"),
    )


def test_text_is_latin_1() -> None:
    assert metadata((b"x", b"\xe4~ ")) == (("x", "\u00e4~ "),)


@pytest.mark.parametrize(
    ("value", "found"),
    [
        (b"AAE=", [b"\0\1"]),
        (b"AAE", [b"\0\1"]),
        (b"AA", [b"\0"]),
        (b"AAEC", [b"\0\1\2"]),
        (b"AAE,Ag==", [b"\0\1", b"\2"]),
        (b"", [b""]),
        (b"AAE,?!,Ag", [b"\0\1", b"\2"]),
        (b"A", []),
        (b"AA AA", []),
        (b"AAE==", []),
    ],
)
def test_binary_values(value: bytes, found: list[bytes]) -> None:
    assert metadata((b"x-bin", value)) == tuple(("x-bin", one) for one in found)


def test_a_name_that_has_bin_elsewhere_is_text() -> None:
    assert metadata((b"bin", b"AAE"), (b"x-bin-x", b"AAE")) == (("bin", "AAE"), ("x-bin-x", "AAE"))

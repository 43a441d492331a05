"""JSON as model servers write it."""

from __future__ import annotations

from typing import Any

import pytest

from extproc.answers.wire.lenient_json import NOT_JSON, loads
from extproc.bodies.content_coding import FREE_FRAGMENTS


@pytest.mark.parametrize(
    ("text", "document"),
    [
        (b'{"a": [1, 2.5, null, true]}', {"a": [1, 2.5, None, True]}),
        (b"7", 7),
        (b'"\\ud83d"', "\ud83d"),
        (b'"a\xf0\x9f"', "a\ufffd"),
        (b'["a\tb\x01"]', ["a\tb\x01"]),
        (b'{"p": -Infinity}', {"p": float("-inf")}),
    ],
)
def test_what_clients_read_is_read(text: bytes, document: Any) -> None:
    assert loads(text) == document


@pytest.mark.parametrize("text", [b"", b"{", b"{'a': 1}", b"no", b"\xff", b"[" * 5000, b'{"a":' * 5000, b"1 2"])
def test_what_is_none_is_said_to_be_none(text: bytes) -> None:
    assert loads(text) is NOT_JSON


def test_a_document_of_more_pieces_than_are_built() -> None:
    assert loads(b"[" + b"1," * (FREE_FRAGMENTS - 1) + b"1]") is not NOT_JSON
    assert loads(b"[" + b"1," * FREE_FRAGMENTS + b"1]") is NOT_JSON

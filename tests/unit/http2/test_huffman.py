"""Huffman's code: that of the RFC, read byte by byte, and what must be refused (RFC 7541 §5.2, appendix B)."""

from __future__ import annotations

from contextlib import suppress
from random import Random

import pytest
from hpack.huffman import HuffmanEncoder
from hpack.huffman_constants import REQUEST_CODES, REQUEST_CODES_LENGTH
from hypothesis import given
from hypothesis import strategies as st

from extproc.http2 import huffman
from extproc.http2.huffman import decode

packed = HuffmanEncoder(REQUEST_CODES, REQUEST_CODES_LENGTH).encode


def test_huffmans_code_is_the_rfcs() -> None:
    codes = zip(REQUEST_CODES, REQUEST_CODES_LENGTH, strict=True)
    bits = [f"{code:0{length}b}" for code, length in codes]
    assert {chr(symbol): code for symbol, code in enumerate(bits[:256])} == {v: k for k, v in huffman._CODE.items()}
    assert bits[256] == "1" * huffman.MAX_CODE_BITS


def test_what_is_remembered_of_huffmans_code_is_bounded() -> None:
    """As many places as there are beginnings of its codes, whatever comes."""
    random = Random(1)
    for data in (b"\xff" * 100, *(random.randbytes(2000) + b"\xff" * n for n in range(50))):
        with suppress(ValueError):
            huffman.decode(data)
    for symbol in range(256):
        for n in range(8):
            huffman.decode(packed(b"0" * n + bytes((symbol,))))
    assert 200 < len(huffman._STATES) <= 256


@given(st.binary(max_size=300))
def test_whatever_is_packed_is_read(data: bytes) -> None:
    assert decode(packed(data)) == data


@pytest.mark.parametrize(
    ("data", "text"),
    [
        ("f1e3c2e5f23a6ba0ab90f4ff", b"www.example.com"),  # RFC 7541 C.4.1
        ("a8eb10649cbf", b"no-cache"),
        ("6402", b"302"),
        ("", b""),
        ("1f", b"a"),
        ("07", b"0"),
    ],
)
def test_examples(data: str, text: bytes) -> None:
    assert decode(bytes.fromhex(data)) == text


@pytest.mark.parametrize("data", ["ff", "1fff", "18", "1e", "00", "f8ff", "ffffffe0", "fe"])
def test_padding_is_at_most_seven_ones(data: str) -> None:
    with pytest.raises(ValueError, match="padding that is none"):
        decode(bytes.fromhex(data))


@pytest.mark.parametrize("data", ["ffffffff", "fffffffc", "1fffffffff1f", "3fffffffff", "fffffffffffffff0"])
def test_the_end_of_a_string_in_one_is_refused(data: str) -> None:
    with pytest.raises(ValueError, match="the end of a string within it"):
        decode(bytes.fromhex(data))

"""HPACK's Huffman code, read (RFC 7541 §5.2, appendix B).

Byte by byte: what a byte means depends on the bits before it that were no whole code yet, and is remembered. There are
fewer than 2^16 such pairs, which take 6 MB if some client sends them all; all ``traceparent``s take some 2,300.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from sys import intern
from typing import Final, TypeAlias

_SYMBOLS: Final = {
    5: b"012aceiost",
    6: b" %-./3456789=A_bdfghlmnpru",
    7: b":BCDEFGHIJKLMNOPQRSTUVWYjkqvwxyz",
    8: b"&*,;XZ",
    10: b'!"()?',
    11: b"'+|",
    12: b"#>",
    13: b"\0$@[]~",
    14: b"^}",
    15: b"<`{",
    19: b"\\\xc3\xd0",
    20: bytes.fromhex("808283a2b8c2e0e2"),
    21: bytes.fromhex("99a1a7acb0b1b3d1d8d9e3e5e6"),
    22: bytes.fromhex("8184858688929a9ca0a3a4a9aaadb2b5b9babbbdbec4c6e4e8e9"),
    23: bytes.fromhex("0187898a8b8c8d8f93959697989b9d9ea5a6a8aeafb4b6b7bcbfc5e7ef"),
    24: bytes.fromhex("098e9091949fabced7e1eced"),
    25: bytes.fromhex("c7cfeaeb"),
    26: bytes.fromhex("c0c1c8c9cacdd2d5dadbeef0f2f3ff"),
    27: bytes.fromhex("cbccd3d4d6dddedff1f4f5f6f7f8fafbfcfdfe"),
    28: bytes.fromhex("020304050607080b0c0e0f1011121314151718191a1b1c1d1e1f7fdcf9"),
    30: b"\n\r\x16",
}
"""By bits of their codes. The code is canonical: codes count up through these, and one more bit doubles the count."""
_LONGEST: Final = 30
"""Bits. What follows the last code of 30 are 30 ones, which mean the end of a string and must not be in it."""
_Place: TypeAlias = "list[tuple[_Place, str, str] | None]"
"""After bits that are no whole code. For each next byte, once it has come: the place after that, the bits that are left
there, and the text that is whole by then.
"""


def decode(data: bytes) -> bytes:
    """Raises ``ValueError`` where it is not of this code to its last bit."""
    # A list, for a string that grows is copied with each byte where this is compiled.
    place, bits, texts = _PLACES[""], "", list[str]()
    for byte in data:
        place, bits, text = place[byte] or _step(place, bits, byte)
        texts.append(text)
    if len(bits) > 7 or "0" in bits:
        raise ValueError("padding that is none")
    return "".join(texts).encode("latin-1")


def _step(place: _Place, bits: str, byte: int) -> tuple[_Place, str, str]:
    known, at, text = len(bits), 0, ""
    bits += f"{byte:08b}"
    for end in range(known + 1, len(bits) + 1):
        if (symbol := _CODE.get(bits[at:end])) is not None:
            text += symbol
            at = end
    rest = intern(bits[at:])
    if len(rest) >= _LONGEST:
        raise ValueError("the end of a string within it")
    step = place[byte] = (_PLACES[rest], rest, intern(text))
    return step


def _code() -> Iterator[tuple[str, str]]:
    code = before = 0
    for bits, symbols in _SYMBOLS.items():
        code <<= bits - before
        before = bits
        for symbol in symbols:
            yield f"{code:0{bits}b}", chr(symbol)
            code += 1


_CODE: Final = dict(_code())
_PLACES: Final = defaultdict[str, _Place](lambda: [None] * 256)

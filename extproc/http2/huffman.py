"""HPACK's Huffman code, decoded (RFC 7541 §5.2, appendix B).

Byte by byte, by a state machine that is built as needed: a state is the bits of an incomplete code, and a transition is
computed once for each state and next byte. There are fewer than 2^16 transitions, which take 6 MB if some client uses
them all; all ``traceparent``s use some 2,300.
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
"""Symbols by the length of their codes in bits. The code is canonical: codes count up in this order, and are doubled
for each further bit.
"""
MAX_CODE_BITS: Final = 30
"""The code after the last is 30 ones: EOS, the end of a string, which must not occur in one."""
_State: TypeAlias = "list[tuple[_State, str, str] | None]"
"""Transitions by the next byte: the state after it, the bits of that state, and the text that the byte completes. None
where it has not been computed yet.
"""


def decode(data: bytes) -> bytes:
    """The text of ``data``. Raises ``ValueError`` where that is not of this code to its last bit."""
    state, bits, texts = _STATES[""], "", list[str]()
    for byte in data:
        state, bits, text = state[byte] or _transition(state, bits, byte)
        texts.append(text)
    if len(bits) > 7 or "0" in bits:
        raise ValueError("padding that is none")
    return "".join(texts).encode("latin-1")


def _transition(state: _State, bits: str, byte: int) -> tuple[_State, str, str]:
    incomplete, at, text = len(bits), 0, ""
    bits += f"{byte:08b}"
    for end in range(incomplete + 1, len(bits) + 1):
        if (symbol := _CODE.get(bits[at:end])) is not None:
            text += symbol
            at = end
    rest = intern(bits[at:])
    if len(rest) >= MAX_CODE_BITS:
        raise ValueError("the end of a string within it")
    transition = state[byte] = (_STATES[rest], rest, intern(text))
    return transition


def _code() -> Iterator[tuple[str, str]]:
    code = before = 0
    for bits, symbols in _SYMBOLS.items():
        code <<= bits - before
        before = bits
        for symbol in symbols:
            yield f"{code:0{bits}b}", chr(symbol)
            code += 1


_CODE: Final = dict(_code())
_STATES: Final = defaultdict[str, _State](lambda: [None] * 256)
"""By the bits of the incomplete code."""

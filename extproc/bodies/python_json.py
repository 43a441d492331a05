r"""Converts what Python's ``json`` accepts beyond RFC 8259 into JSON of the same length.

Servers in Python (vLLM, SGLang) read ``NaN``, ``Infinity``, ``-Infinity`` and escaped surrogates without their other
half (``"\ud83d"``: an emoji cut in two); msgspec refuses all of them. The converted text keeps all that readers use,
at the same offsets. Source: Python's documentation of ``json``, "Standard Compliance and Interoperability"; RFC 8259
§8.2.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

MAX_REPLACEMENTS = 10_000
"""Replacements in one text, and occurrences of ``NaN`` and ``Infinity`` within strings: each takes about 0.5 µs."""
MAX_BACKSLASHES = 1_000_000
"""Backslashes in one text: 8 MiB of them take 0.1 to 0.2 s."""
MAX_ESCAPED_SURROGATES = 200_000
"""Escaped surrogates in one text, those of valid pairs too."""

_HIGH, _LOW = b"[89abAB][0-9a-fA-F]{2}", b"[c-fC-F][0-9a-fA-F]{2}"
_LONE_SURROGATES = tuple(
    (mark, re.compile(rb"\%b(?:%b(?!\\u[dD]%b)|(?<!\\u[dD]%b\%b)%b)" % (mark, _HIGH, _LOW, _HIGH, mark, _LOW)))
    for mark in (rb"\ud", rb"\uD")  # a literal prefix makes a search fast
)
REPLACEMENT = "\ufffd"
"""Takes the place of a lone surrogate."""
_ESCAPED = rb"\ufffd"
_CONSTANTS = b"NaN", b"Infinity"


def to_standard_json(text: bytes) -> bytes | None:
    """``text`` (UTF-8) with U+FFFD for lone surrogates, and empty arrays for NaN and the infinities (an array is no
    key and no name); None where there is nothing to replace, or too much.

    Linear in the text's length. Other errors in the text stay.
    """
    if text.count(b"\\") > MAX_BACKSLASHES:
        return None
    escaped = sum(text.count(mark) for mark, _ in _LONE_SURROGATES)
    if escaped > MAX_ESCAPED_SURROGATES or not (escaped or any(word in text for word in _CONSTANTS)):
        return None
    # Without escaped backslashes and quotes, every backslash starts an escape, every quote opens or closes a string.
    plain = text.replace(rb"\\", b"__").replace(rb"\"", b"__")
    left = MAX_REPLACEMENTS
    found: list[tuple[int, int, bytes]] = []
    for _, pattern in _LONE_SURROGATES if escaped else ():
        for alone in pattern.finditer(plain):
            left -= 1
            if not left:
                return None
            found.append((*alone.span(), _ESCAPED))
    for word in _CONSTANTS:
        for start, outside in _occurrences(plain, word):
            left -= 1
            if not left:
                return None
            if outside:
                end = start + len(word)
                begin = start - 1 if word == b"Infinity" and plain[start - 1 : start] == b"-" else start
                found.append((begin, end, b"[".ljust(end - begin - 1) + b"]"))
    if not found:
        return None
    changed = bytearray(text)
    for start, end, new in found:
        changed[start:end] = new
    return bytes(changed)


def _occurrences(plain: bytes, word: bytes) -> Iterator[tuple[int, bool]]:
    """(offset, whether it is outside of strings) of every occurrence of ``word``."""
    at = quotes = 0
    while (start := plain.find(word, at)) >= 0:
        quotes += plain.count(b'"', at, start)
        at = start + len(word)
        yield start, quotes % 2 == 0

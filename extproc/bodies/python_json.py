r"""What Python's ``json`` reads beyond RFC 8259, as JSON of the same length.

Servers in Python (vLLM, SGLang) read ``NaN``, ``Infinity``, ``-Infinity`` and escaped surrogates without their other
half (``"\ud83d"``: an emoji cut in two); msgspec refuses all of them. A text that was mended says the same in all that
is read here, and every offset in it is one of the text as it came. Source: Python's documentation of ``json``,
"Standard Compliance and Interoperability"; RFC 8259 §8.2.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

MOST = 10_000
"""Places to mend in one text, and words in strings that look like them: each costs as much as some hundred bytes."""
MAX_BACKSLASHES = 1_000_000
"""Backslashes in one text that needs replacements: 8 MiB of them take 0.2 s."""
MOST_ESCAPED = 200_000
"""Escaped surrogates in one text that needs mending, those of whole pairs too."""

_HIGH, _LOW = b"[89abAB][0-9a-fA-F]{2}", b"[c-fC-F][0-9a-fA-F]{2}"
_ALONE = tuple(
    (mark, re.compile(rb"\%b(?:%b(?!\\u[dD]%b)|(?<!\\u[dD]%b\%b)%b)" % (mark, _HIGH, _LOW, _HIGH, mark, _LOW)))
    for mark in (rb"\ud", rb"\uD")  # a pattern that begins with one text is found far sooner than one with two
)
REPLACEMENT = "\ufffd"
"""What stands for a lone surrogate."""
_ESCAPED = rb"\ufffd"
_CONSTANTS = b"NaN", b"Infinity"


def mended(text: bytes) -> bytes | None:
    """``text`` (UTF-8) with U+FFFD for lone surrogates, and empty arrays, which can be no key and no name, for NaN and
    the infinities; None where there is nothing of that to mend, or too much.

    Linear in the text's length. What else is wrong with it stays wrong.
    """
    if text.count(b"\\") > MAX_BACKSLASHES:
        return None
    escaped = sum(text.count(mark) for mark, _ in _ALONE)
    if escaped > MOST_ESCAPED or not (escaped or any(word in text for word in _CONSTANTS)):
        return None
    # Without escaped backslashes and quotes, every backslash begins an escape, and every quote begins or ends a string.
    plain = text.replace(rb"\\", b"__").replace(rb"\"", b"__")
    left = MOST
    found: list[tuple[int, int, bytes]] = []
    for _, pattern in _ALONE if escaped else ():
        for alone in pattern.finditer(plain):
            left -= 1
            if not left:
                return None
            found.append((*alone.span(), _ESCAPED))
    for word in _CONSTANTS:
        for start, outside in _places(plain, word):
            left -= 1
            if not left:
                return None
            if outside:
                end = start + len(word)
                begin = start - 1 if word == b"Infinity" and plain[start - 1 : start] == b"-" else start
                found.append((begin, end, b"[]".ljust(end - begin)))
    if not found:
        return None
    changed = bytearray(text)
    for start, end, new in found:
        changed[start:end] = new
    return bytes(changed)


def _places(plain: bytes, word: bytes) -> Iterator[tuple[int, bool]]:
    """(where it is, whether that is outside of strings) of every ``word``."""
    at = quotes = 0
    while (start := plain.find(word, at)) >= 0:
        quotes += plain.count(b'"', at, start)
        at = start + len(word)
        yield start, quotes % 2 == 0

"""Keys that servers may read differently: one that occurs twice, or in other letters.

JSON (RFC 8259 §4) leaves it to the reader which of two equal keys counts, and some servers ignore the case of letters:
the processor and the model server must not read different models.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache

from extproc.bodies.json_scan import members
from extproc.errors import Rejected

_LETTER = re.compile(rb"\\u00[4-7]")
"""The start of the escape of an ASCII letter."""
_FOLDED_ESCAPES = {"s": rb"\u017", "k": rb"\u212"}
"""By letter, the start of the escape of another character that Unicode folds to it (U+017F, U+212A)."""
_BACKSLASH, _QUOTE, _U = 0x5C, 0x22, 0x75  # compared as numbers

# To pass from one quote to the next, or from one backslash, is a search for one byte. In long texts and base64 it is
# much faster than a pattern, with ``_STEP`` bytes between two as fast; where they stand closer the pattern is faster.
_STEP = 256
_LEAD = 24 * _STEP
"""So many steps may be shorter: a body's keys stand close, and often before its long text."""
_SHORT = 2048
"""Bytes of a body up to which none of this pays: it is copied in lower case, and the copy searched."""


def is_key(name: str, key: str) -> bool:
    """Whether some server matches ``name`` to ``key`` (ASCII letters and underscores).

    Go's ``encoding/json`` compares keys by Unicode's simple case folding: the long s (U+017F) equals ``s``, the Kelvin
    sign (U+212A) ``k``. So does ``strings.EqualFold``, by which Go frameworks bind form fields.
    """
    return name == key or (len(name) == len(key) and name.casefold() == key.lower())


def check_unambiguous(body: bytes, key: str) -> None:
    """Raises ``Rejected`` (400) where servers would differ on which top-level member is ``key``: it occurs twice, in
    any case, or once in another case (``Model``), which only some servers match.
    """
    if may_have_duplicates(body, key):
        check_names([name for name, _, _ in members(body) if is_key(name, key)], key, "key")


def check_names(names: Sequence[str], key: str, what: str) -> None:
    """The same for ``names`` that match ``key`` (``is_key``); ``what``: the kind of name, for the message."""
    if len(names) > 1:
        raise Rejected(400, f"duplicate_{key}", f"the request body has more than one '{key}' {what}")
    if names and names[0] != key:
        message = f"the request body has the {what} '{key}' in other letters, which only some servers read"
        raise Rejected(400, f"ambiguous_{key}", f"{message}: write '{key}'")


def may_have_duplicates(body: bytes, key: str) -> bool:
    """Whether the body might hold ``key`` twice, or in another case. False is certain; after True, ``members`` tells.

    ``key``: ASCII letters and underscores. Searches for ``"key"`` in any case, and for escapes of ASCII letters
    (``\\u0041`` to ``\\u007a``).
    """
    quoted, lowered, in_any_case, foreign, folded = _spellings(key)
    # A search for one byte is much faster than one for several, and most bodies have no backslash.
    escaped = _BACKSLASH in body
    letter = escaped and _escapes_letter(body)
    for text in foreign:
        letter = letter or text in body
    for letters in folded:
        letter = letter or letters in body
    return letter or _repeats(body, quoted, lowered, in_any_case)


@lru_cache(maxsize=64)
def _spellings(key: str) -> tuple[bytes, bytes, re.Pattern[bytes], tuple[bytes, ...], tuple[bytes, ...]]:
    """The quoted key, as it is and in lower case, a pattern for it in any case; escapes that only this key can have,
    and the letters beyond ASCII that equal one of its own.
    """
    lowered = key.lower()
    foreign = tuple(_FOLDED_ESCAPES[letter] for letter in _FOLDED_ESCAPES if letter in lowered)
    folded = tuple(letter.encode() for plain, letter in (("s", "\u017f"), ("k", "\u212a")) if plain in lowered)
    in_any_case = re.compile(f'"(?i:{lowered})"'.encode())
    return b'"%b"' % key.encode(), b'"%b"' % lowered.encode(), in_any_case, foreign, folded


def _repeats(body: bytes, quoted: bytes, lowered: bytes, in_any_case: re.Pattern[bytes]) -> bool:
    """Whether the quoted key occurs more than once in any case, or once in another case."""
    if len(body) < _SHORT:
        return body.lower().count(lowered) > (body.find(quoted) >= 0)  # not ``in``: it takes bytes for a number first
    size, found, steps = len(quoted), False, 0
    raw = body  # a ``const unsigned char *`` where compiled: slices and bytes are cheaper
    at, last = body.find(b'"'), len(body) - size
    while 0 <= at <= last:
        if steps * _STEP > at + _LEAD:
            for match in in_any_case.finditer(body, at):
                if found or match[0] != quoted:
                    return True
                found = True
            return False
        if raw[at + size - 1] == _QUOTE and raw[at : at + size].lower() == lowered:
            if found or raw[at : at + size] != quoted:
                return True
            found = True
        at = body.find(b'"', at + 1)
        steps += 1
    return False


def _escapes_letter(body: bytes) -> bool:
    """Whether an ASCII letter is escaped, or seems to be: the backslash itself may be."""
    if len(body) < _SHORT:
        return _LETTER.search(body) is not None
    steps = 0
    raw = body
    at, last = body.find(b"\\"), len(body) - len(b"\\u0041")
    while 0 <= at <= last:
        if steps * _STEP > at + _LEAD:
            return _LETTER.search(body, at) is not None
        if raw[at + 1] == _U and _LETTER.match(body, at) is not None:
            return True
        at = body.find(b"\\", at + 1)
        steps += 1
    return False

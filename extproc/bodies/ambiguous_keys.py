"""Keys that servers may read differently: one that occurs twice, or in other letters.

JSON (RFC 8259 §4) leaves it to the reader which of two equal keys counts, and some servers ignore the case of letters:
the processor and the model server must not read different models.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from itertools import islice

from extproc.bodies.json_scan import members
from extproc.errors import Rejected

_LETTER = re.compile(rb"\\u00[4-7]")
"""The start of the escape of an ASCII letter."""
_REACH = 4096
"""Bytes behind a quote that are searched without looking for the next one."""
_FOLDED_ESCAPES = {"s": rb"\u017", "k": rb"\u212"}
"""By letter, the start of the escape of another character that Unicode folds to it (U+017F, U+212A)."""
_BACKSLASH = 0x5C  # compared as a number


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
    quoted, lowered, spelled, foreign, folded = _key_patterns(key)
    # A search for one byte is much faster than one for several, and most bodies have no backslash.
    escaped = _BACKSLASH in body
    if len(body) < 65_536:
        near = _near_quotes(body, len(quoted))
        expected = 1 if near.find(quoted) >= 0 else 0  # not `in`, which takes bytes for a number first
        repeated = near.lower().count(lowered) > expected
        letter = escaped and _LETTER.search(body) is not None
    else:
        repeated = _first_matches(2, spelled, b'"', body) not in ([], [quoted])
        letter = escaped and bool(_first_matches(1, _LETTER, b"\\", body))
    for text in foreign:
        letter = letter or text in body
    for letters in folded:
        repeated = repeated or letters in body
    return repeated or letter


@lru_cache(maxsize=64)
def _key_patterns(key: str) -> tuple[bytes, bytes, re.Pattern[bytes], tuple[bytes, ...], tuple[bytes, ...]]:
    """The quoted key, as it is and in lower case, a pattern for it in any case, escapes that only this key can have,
    and the letters beyond ASCII that equal one of its own.
    """
    lowered = key.lower()
    spelled = lowered.replace("s", "(?:s|\u017f)").replace("k", "(?:k|\u212a)")
    foreign = tuple(_FOLDED_ESCAPES[letter] for letter in _FOLDED_ESCAPES if letter in lowered)
    folded = tuple(letter.encode() for plain, letter in (("s", "\u017f"), ("k", "\u212a")) if plain in lowered)
    in_any_case = re.compile(f'"(?i:{spelled})"'.encode())
    return b'"%b"' % key.encode(), b'"%b"' % lowered.encode(), in_any_case, foreign, folded


def _near_quotes(body: bytes, size: int) -> bytes:
    """The parts of a body in which every text of ``size`` bytes stands that begins with a quote, a space between two.

    To find the next byte of a kind is many times faster than any other search: most of a long prompt is left out.
    """
    if len(body) <= _REACH:
        return body
    parts = []
    at = body.find(b'"')
    while at >= 0:
        end = at + _REACH
        parts.append(body[at : end + size - 1])  # what begins before the end
        at = body.find(b'"', end)
    return b" ".join(parts)


def _first_matches(count: int, pattern: re.Pattern[bytes], byte: bytes, body: bytes) -> list[bytes]:
    """The first ``count`` matches, in a large body, of a pattern whose matches begin with ``byte``.

    Where that byte is rare (base64 has no quotes), trying the pattern at each is much faster than a search. After one
    attempt for every 4 KiB of the body the rest is searched.
    """
    found: list[bytes] = []
    at = -1
    for _ in range(len(body) >> 12):
        at = body.find(byte, at + 1)
        if at < 0:
            return found
        if match := pattern.match(body, at):
            found.append(match[0])
            if len(found) == count:
                return found
    return found + [match[0] for match in islice(pattern.finditer(body, at + 1), count - len(found))]

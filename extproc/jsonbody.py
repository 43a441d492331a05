"""Finds things in JSON bodies without building them: members, scalars, what stands twice. Floor 2: may import 0 and 1.

Offsets are byte offsets in the body as it came; a UTF-8 byte order mark in front does no harm.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from typing import Any

import msgspec

from extproc.errors import Unreadable

BOM = b"\xef\xbb\xbf"

# Numbers are skipped, not converted: `len` is the cheapest callable, and has no limit on their digits.
_scanner = json.JSONDecoder(strict=False, parse_int=len, parse_float=len, parse_constant=len)
_SPACE = re.compile(r"[ \t\r\n]*")
_decode_members = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


def may_repeat(body: bytes, key: str) -> bool:
    """Whether ``key`` might stand twice in the body. False is sure; True is a suspicion, for ``members`` to settle.

    ``key``: lower-case letters and underscores. All but a few bodies are told by a look for bytes: a second
    ``"key"``, or an escape that can spell a letter of it (``\\u0061`` to ``\\u007a``).
    """
    return _more_than_one(body, b'"%b"' % key.encode()) or (
        # A search for one byte is many times as fast as one for several, and most bodies end it there.
        b"\\" in body and (b"\\u006" in body or b"\\u007" in body)
    )


def _more_than_one(body: bytes, quoted: bytes) -> bool:
    # Where quotes are rare (images in base64), hopping from quote to quote beats a search for the whole text.
    if len(body) < 65_536 or body.count(b'"') > len(body) >> 9:
        return body.count(quoted) > 1
    seen, at = 0, body.find(b'"')
    while at >= 0:
        if body.startswith(quoted, at):
            seen += 1
            if seen > 1:
                return True
        at = body.find(b'"', at + 1)
    return False


def members(body: bytes) -> Iterator[tuple[str, int, int]]:
    """(key, start, end) of every member of the top-level object; start and end are the offsets of its value.

    Latin-1 gives every byte one character, so offsets in the text are offsets in the body; keys beyond ASCII come out
    garbled, and nobody asks for those. Raises ``Unreadable("bad_json")``.
    """
    text = body.decode("latin-1")

    def skip(at: int) -> int:
        found = _SPACE.match(text, at)
        return found.end() if found else at

    try:
        at = skip(text.index("{") + 1)
        while text[at] != "}":
            key, at = _scanner.raw_decode(text, at)
            start = skip(skip(at) + 1)  # past the colon
            _, end = _scanner.raw_decode(text, start)
            yield key, start, end
            at = skip(end)
            if text[at] == ",":
                at = skip(at + 1)
    except (ValueError, IndexError, RecursionError):
        raise Unreadable("bad_json") from None


def value_of(body: bytes, key: str) -> tuple[int, int]:
    """Offsets of the string that is the value of the one top-level ``key`` of a body that was read."""
    if may_repeat(body, key):
        return next((start, end) for name, start, end in members(body) if name == key)
    quoted = b'"%b"' % key.encode()
    start = body.index(b'"', body.index(quoted) + len(quoted))
    return start, _string_end(body, start)


def _string_end(body: bytes, start: int) -> int:
    """One past the closing quote of the JSON string that opens at ``start``."""
    at = start
    while True:
        at = body.index(b'"', at + 1)
        before = at
        while body[before - 1] == 0x5C:
            before -= 1
        if (at - before) % 2 == 0:
            return at + 1


def scalar_at(body: bytes, pointer: Sequence[str]) -> str | None:
    """The scalar at a JSON Pointer (its tokens, one at least) as text; None where there is no such scalar.

    Of equal keys the last counts. Numbers and booleans are written as JSON writes them.
    """
    try:
        # Only the first member is built; the rest of the body is skipped.
        first = _decode_members(body.removeprefix(BOM)).get(pointer[0])
        value: Any = None if first is None else msgspec.json.decode(first)
    except (msgspec.DecodeError, RecursionError):
        return None
    for token in pointer[1:]:
        if isinstance(value, dict):
            value = value.get(token)
        elif isinstance(value, list) and token.isdecimal() and int(token[:9]) < len(value):
            value = value[int(token[:9])]
        else:
            return None
    if isinstance(value, str):
        return value or None
    if value is None or isinstance(value, dict | list):
        return None
    return msgspec.json.encode(value).decode()

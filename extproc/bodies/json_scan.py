"""Finds things in JSON bodies without building them: members, scalars, what stands twice.

Offsets are byte offsets in the body as it came; a UTF-8 byte order mark in front does no harm.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from typing import Any

import msgspec

from extproc.bodies.request import Splice
from extproc.errors import Rejected, Unreadable

BOM = b"\xef\xbb\xbf"
NOTHING = msgspec.Raw(b"")

MAX_MEMBERS = 400
"""Of the top-level object, where they are looked at one by one: more are no request, but an attempt to keep us busy."""

# A key, and its value where that is no array or object. Nothing is tried twice: possessive throughout.
_STRING = rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"'
_MEMBER = re.compile(rb"[ \t\r\n,]*+(%b)[ \t\r\n]*+:[ \t\r\n]*+((?:%b|[^\[{\"\s,}]++)?+)" % (_STRING, _STRING))
_OPENING = re.compile(rb"(?:\xef\xbb\xbf)?[ \t\r\n]*+\{")
_END = re.compile(rb"[ \t\r\n]*+\}")
_STOPPED = re.compile(r"trailing characters \(byte (\d+)\)")
_OPENING_BRACKETS = frozenset(b"[{")
_DIGITS = 1024
"""Characters of a number that is read."""
_QUOTE = 0x22
_BACKSLASH = 0x5C  # a number: text is first taken for one, and found to be none
_decode = msgspec.json.Decoder().decode
_skip = msgspec.json.Decoder(msgspec.Raw).decode
_decode_members = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_decode_items = msgspec.json.Decoder(list[msgspec.Raw]).decode


def utf8(body: bytes) -> bytes:
    """The body (one byte at least) in UTF-8, as JSON should come; servers in Python read UTF-16 and UTF-32 as well, so
    we do too. Raises ``Unreadable("bad_json")``.
    """
    if body[0] < 0x80 and 0 not in body[:4]:
        return body
    encoding = json.detect_encoding(body)
    if encoding.startswith("utf-8"):
        return body
    try:
        return body.decode(encoding).encode()
    except UnicodeError:
        raise Unreadable("bad_json") from None


def spliced(body: bytes, text: bytes, splice: Splice) -> Splice:
    """A change of ``text``, which is ``utf8(body)``, as one of the body."""
    if text is body:
        return splice
    return Splice(0, len(body), splice(text).decode().encode(json.detect_encoding(body)))


def once(body: bytes, key: str) -> None:
    """Raises ``Rejected`` (400) where ``key`` stands twice at the top level, however it is spelled."""
    if may_repeat(body, key) and [name for name, _, _ in members(body)].count(key) > 1:
        raise Rejected(400, f"duplicate_{key}", f"the request body has more than one '{key}' key")


def may_repeat(body: bytes, key: str) -> bool:
    """Whether ``key`` might stand twice in the body. False is sure; True is a suspicion, for ``members`` to settle.

    ``key``: lower-case letters and underscores. All but a few bodies are told by a look for bytes: a second
    ``"key"``, or an escape that can spell a letter of it (``\\u0061`` to ``\\u007a``).
    """
    quoted = _quoted(key)
    # A search for one byte is many times as fast as one for several, and most bodies end it there.
    escaped = _BACKSLASH in body
    if len(body) < 65_536:
        return body.count(quoted) > 1 or (escaped and (b"\\u006" in body or b"\\u007" in body))
    return _more_than(1, body, quoted) or (escaped and _more_than(0, body, b"\\u006", b"\\u007"))


@lru_cache(maxsize=64)
def _quoted(key: str) -> bytes:
    """The keys that are looked for are a few of our own."""
    return b'"%b"' % key.encode()


def _more_than(most: int, body: bytes, *texts: bytes) -> bool:
    """Whether more than ``most`` of ``texts``, which begin with the same byte, are in a large body.

    Where that byte is rare (images in base64 have no quotes), hopping from one to the next beats a search for the whole
    text by far; where it is not, that shows soon.
    """
    first, at = texts[0][:1], -1
    for _ in range(len(body) >> 12):
        at = body.find(first, at + 1)
        if at < 0:
            return False
        if body.startswith(texts, at):
            most -= 1
            if most < 0:
                return True
    return sum(body.count(text, at + 1) for text in texts) > most


def members(body: bytes) -> Iterator[tuple[str, int, int]]:
    """(key, start, end) of every member of the top-level object; start and end are the offsets of its value; white
    space behind an array or object counts with it.

    The body must be JSON. Raises ``Unreadable("bad_json")`` where there are more than ``MAX_MEMBERS``.
    """
    opening = _OPENING.match(body)
    at = opening.end() if opening else len(body)
    for _ in range(MAX_MEMBERS):
        found = _MEMBER.match(body, at)
        if found is None:
            break
        start, at = found.span(2)
        if start == at:
            at += _length(memoryview(body)[start:])
        key = found[1].decode(errors="replace")
        yield json.loads(key, strict=False) if "\\" in key else key[1:-1], start, at
    if not _END.match(body, at):
        raise Unreadable("bad_json")


def _length(text: memoryview) -> int:
    """Bytes of the value that ``text`` begins with, and of white space; where msgspec stops, it says in its error.

    Nothing is built: an array of millions of arrays is skipped in no time.
    """
    try:
        _skip(text)
    except (msgspec.DecodeError, RecursionError) as error:
        if found := _STOPPED.search(str(error)):
            return int(found[1]) - 1  # bytes read, that of the first one that is too much with them
    raise Unreadable("bad_json")


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
        while body[before - 1] == _BACKSLASH:
            before -= 1
        if (at - before) % 2 == 0:
            return at + 1


def scalar(raw: msgspec.Raw) -> Any:
    """The string, number or boolean; None where there is none, arrays and objects, which are never built, included."""
    text = memoryview(raw)
    if raw is NOTHING or text[0] in _OPENING_BRACKETS or (text[0] != _QUOTE and text.nbytes > _DIGITS):
        return None
    try:
        return _decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError):  # a number out of all bounds, a string that is not UTF-8
        return None


@lru_cache(maxsize=256)
def _finder(token: str) -> Callable[[msgspec.Raw], msgspec.Raw]:
    """Reads an object for one member and builds nothing of the others: a policy names it, or we do."""
    if not token.isprintable() or '"' in token or "\\" in token:  # no name for a field of a struct
        return lambda raw: _decode_members(raw).get(token, NOTHING)
    struct: Any = msgspec.defstruct("Member", [("found", msgspec.Raw, NOTHING)], rename={"found": token}, gc=False)
    decode = msgspec.json.Decoder(struct).decode
    return lambda raw: decode(raw).found


def inside(raw: msgspec.Raw, token: str) -> msgspec.Raw:
    """What the array or object holds at ``token``; nothing where it holds no such thing."""
    first = bytes(memoryview(raw)[:1])
    try:
        if first == b"{":
            return _finder(token)(raw)
        if first == b"[" and token.isdecimal():
            items = _decode_items(raw)
            return items[int(token[:9])] if int(token[:9]) < len(items) else NOTHING
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        pass
    return NOTHING


def scalar_at(body: bytes, pointer: Sequence[str]) -> str | None:
    """The scalar at a JSON Pointer (its tokens, one at least) as text; None where there is no such scalar.

    Of equal keys the last counts. Numbers and booleans are written as JSON writes them.
    """
    raw = msgspec.Raw(body.removeprefix(BOM).lstrip(b" \t\r\n"))
    for token in pointer:
        raw = inside(raw, token)
    value = scalar(raw)
    if value is None or value == "":
        return None
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()

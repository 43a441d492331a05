"""Finds members and scalars in JSON bodies without building objects.

Offsets are byte offsets in the body as received; a UTF-8 byte order mark is allowed. What msgspec refuses and Python's
``json`` accepts is accepted here, too (``python_json``).
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from typing import Any, TypeVar

import msgspec

from extproc.bodies.python_json import to_standard_json
from extproc.bodies.request import BodyEdit
from extproc.errors import Unreadable

T = TypeVar("T")

BOM = b"\xef\xbb\xbf"
MISSING = msgspec.Raw(b"")

MAX_MEMBERS = 400
"""Members of the top-level object, where they are parsed one by one. No inference request has as many."""

# Possessive quantifiers: no backtracking.
_KEY = re.compile(rb'[ \t\r\n,]*+("[^"\\]*+(?:\\.[^"\\]*+)*+")[ \t\r\n]*+:[ \t\r\n]*+')
_OPENING = re.compile(rb"(?:\xef\xbb\xbf)?[ \t\r\n]*+\{")
_ASCII = bytes(range(0x80)) + b"?" * 0x80
_OPENING_BRACKETS = frozenset(b"[{")
_MAX_NUMBER_LENGTH = 1024
"""Bytes of a number that is decoded."""
_INDEX = re.compile("0|[1-9][0-9]{0,8}")
"""Of an element of an array (RFC 6901 §4), but for those that no body has room for."""
_QUOTE = 0x22
_decode = msgspec.json.Decoder().decode
_decode_members = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_decode_items = msgspec.json.Decoder(list[msgspec.Raw]).decode


def to_utf8(body: bytes) -> bytes:
    """The body (at least one byte) in UTF-8 (RFC 8259 §8.1). Servers in Python read UTF-16 and UTF-32 as well.

    Raises ``Unreadable("bad_json")`` where it is neither.
    """
    if body[0] < 0x80 and 0 not in body[:4]:
        return body
    encoding = json.detect_encoding(body)
    if encoding.startswith("utf-8"):
        return body
    try:
        return body.decode(encoding, "surrogatepass").encode("utf-8", "surrogatepass")  # as json.loads() does it
    except UnicodeError:
        raise Unreadable("bad_json") from None


def edit_of_original(body: bytes, text: bytes, splice: BodyEdit) -> BodyEdit:
    """An edit of ``text``, which is ``to_utf8(body)``, as an edit of ``body``."""
    if text is body:
        return splice
    changed = splice.apply(text).decode("utf-8", "surrogatepass")
    return BodyEdit(0, len(body), changed.encode(json.detect_encoding(body), "surrogatepass"))


def decode_leniently(decode: Callable[[bytes], T], text: bytes) -> tuple[T, bytes]:
    """Decodes a text that ``decode`` has refused, after ``to_standard_json``; returns the value and the changed text.

    Raises ``Unreadable("bad_json")`` where ``decode`` refuses that as well.
    """
    changed = to_standard_json(text)
    try:
        if changed is not None:
            return decode(changed.removeprefix(BOM)), changed
    except (msgspec.DecodeError, RecursionError):
        pass
    raise Unreadable("bad_json")


def members(body: bytes) -> Iterator[tuple[str, int, int]]:
    """(key, start, end) of every member of the top-level object; start and end are the offsets of its value.

    The body must be JSON, or what ``to_standard_json`` makes JSON of. Raises ``Unreadable("bad_json")`` where there
    are more than ``MAX_MEMBERS``.
    """
    values, body = _values(body)
    opening = _OPENING.match(body)
    at = opening.end() if opening else 0
    for value in values:
        found = _KEY.match(body, at)
        if found is None:
            raise Unreadable("bad_json")
        start = found.end()
        at = start + memoryview(value).nbytes
        key = found[1].decode(errors="replace")
        yield json.loads(key, strict=False) if "\\" in key else key[1:-1], start, at


def _values(body: bytes) -> tuple[list[msgspec.Raw], bytes]:
    """All values of the top-level object, in order, including those of duplicate keys; and the body that has them at
    their offsets, as long as ``body``: the same, or what ``to_standard_json`` makes of it.
    """
    try:
        return list(_every_member(body.removeprefix(BOM)).values()), body
    except msgspec.DecodeError:
        found, changed = decode_leniently(_every_member, body)
        return list(found.values()), changed
    except RecursionError:
        raise Unreadable("bad_json") from None


class _Key:
    """Takes the place of a key. No two are equal, so a dictionary keeps the values of duplicate keys."""


def _every_member(text: bytes) -> dict[_Key, msgspec.Raw]:
    left = MAX_MEMBERS
    text = text if text.isascii() else text.translate(_ASCII)  # keys need not be UTF-8

    def key(kind: type, text: Any) -> _Key:  # noqa: ARG001 - signature of msgspec's dec_hook
        nonlocal left
        left -= 1
        if left < 0:
            raise Unreadable("bad_json")
        return _Key()

    return msgspec.json.Decoder(dict[_Key, msgspec.Raw], dec_hook=key).decode(text)


def scalar(raw: msgspec.Raw) -> Any:
    """The string, number or boolean; None for everything else. Arrays and objects are not built."""
    text = memoryview(raw)
    if raw is MISSING or text[0] in _OPENING_BRACKETS or (text[0] != _QUOTE and text.nbytes > _MAX_NUMBER_LENGTH):
        return None
    try:
        return _decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError):  # a number out of range, a string that is not UTF-8
        return None


@lru_cache(maxsize=256)
def _finder(token: str) -> Callable[[msgspec.Raw], msgspec.Raw]:
    """A function that decodes an object only for the member ``token``."""
    if not token.isprintable() or '"' in token or "\\" in token:  # msgspec allows no such field name
        return lambda raw: _decode_members(raw).get(token, MISSING)
    struct: Any = msgspec.defstruct("Member", [("found", msgspec.Raw, MISSING)], rename={"found": token}, gc=False)
    decode = msgspec.json.Decoder(struct).decode
    return lambda raw: decode(raw).found


def inside(raw: msgspec.Raw, token: str) -> msgspec.Raw:
    """The value in the array or object at ``token`` of a JSON Pointer; ``MISSING`` where there is none."""
    try:
        return _inside(raw, token)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return MISSING


def _inside(raw: msgspec.Raw, token: str) -> msgspec.Raw:
    first = bytes(memoryview(raw)[:1])
    if first == b"{":
        return _finder(token)(raw)
    if first == b"[" and _INDEX.fullmatch(token):
        items = _decode_items(raw)
        return items[int(token)] if int(token) < len(items) else MISSING
    return MISSING


def scalar_at(body: bytes, pointer: Sequence[str]) -> str | None:
    """The scalar at a JSON Pointer (a list of tokens, not empty) as text; None where there is no scalar.

    The last of duplicate keys counts. Numbers and booleans are in JSON's notation.
    """
    text = body.removeprefix(BOM).lstrip(b" \t\r\n")
    try:
        raw = _inside(msgspec.Raw(text), pointer[0])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raw = inside(msgspec.Raw(to_standard_json(text) or b""), pointer[0])
    for token in pointer[1:]:
        raw = inside(raw, token)
    value = scalar(raw)
    if value is None or value == "":
        return None
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()

"""Finds members, scalars and duplicate keys in JSON bodies without building objects.

Offsets are byte offsets in the body as received; a UTF-8 byte order mark is allowed. What msgspec refuses and Python's
``json`` accepts is accepted here, too (``python_json``).
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from itertools import islice
from typing import Any, TypeVar

import msgspec

from extproc.bodies.python_json import to_standard_json
from extproc.bodies.request import BodyEdit
from extproc.errors import Rejected, Unreadable

T = TypeVar("T")

BOM = b"\xef\xbb\xbf"
MISSING = msgspec.Raw(b"")

MAX_MEMBERS = 400
"""Members of the top-level object, where they are parsed one by one. No inference request has as many."""

# Possessive quantifiers: no backtracking.
_KEY = re.compile(rb'[ \t\r\n,]*+("[^"\\]*+(?:\\.[^"\\]*+)*+")[ \t\r\n]*+:[ \t\r\n]*+')
_OPENING = re.compile(rb"(?:\xef\xbb\xbf)?[ \t\r\n]*+\{")
_LETTER = re.compile(rb"\\u00[4-7]")
"""The start of the escape of an ASCII letter."""
_FOLDED_ESCAPES = {"s": rb"\u017", "k": rb"\u212"}
"""By letter, the start of the escape of another character that Unicode folds to it (U+017F, U+212A)."""
_ASCII = bytes(range(0x80)) + b"?" * 0x80
_OPENING_BRACKETS = frozenset(b"[{")
_MAX_NUMBER_LENGTH = 1024
"""Bytes of a number that is decoded."""
_INDEX = re.compile("0|[1-9][0-9]{0,8}")
"""Of an element of an array (RFC 6901 §4), but for those that no body has room for."""
_QUOTE = 0x22
_BACKSLASH = 0x5C  # compared as a number
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


def is_key(name: str, key: str) -> bool:
    """Whether some server matches ``name`` to ``key`` (lower-case letters and underscores).

    Go's ``encoding/json`` compares keys by Unicode's simple case folding: the long s (U+017F) equals ``s``, the Kelvin
    sign (U+212A) ``k``. So does ``strings.EqualFold``, by which Go frameworks bind form fields.
    """
    return name == key or (len(name) == len(key) and name.casefold() == key)


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

    ``key``: lower-case letters and underscores. Searches for ``"key"`` in any case, and for escapes of ASCII letters
    (``\\u0041`` to ``\\u007a``).
    """
    quoted, spelled, foreign, folded = _key_patterns(key)
    # A search for one byte is much faster than one for several, and most bodies have no backslash.
    escaped = _BACKSLASH in body
    if len(body) < 65_536:
        expected = 1 if body.find(quoted) >= 0 else 0  # not `in`, which takes bytes for a number first
        repeated = body.lower().count(quoted) > expected
        letter = escaped and _LETTER.search(body) is not None
    else:
        found = _first_matches(2, spelled, b'"', body)
        repeated = len(found) > 1 or found not in ([], [quoted])
        letter = escaped and bool(_first_matches(1, _LETTER, b"\\", body))
    for text in foreign:
        letter = letter or text in body
    for letters in folded:
        repeated = repeated or letters in body
    return repeated or letter


@lru_cache(maxsize=64)
def _key_patterns(key: str) -> tuple[bytes, re.Pattern[bytes], tuple[bytes, ...], tuple[bytes, ...]]:
    """The quoted key, a pattern for it in any case, the escapes that only this key can have, and the letters beyond
    ASCII that equal one of its own.
    """
    spelled = key.replace("s", "(?:s|\u017f)").replace("k", "(?:k|\u212a)")
    foreign = tuple(_FOLDED_ESCAPES[letter] for letter in _FOLDED_ESCAPES if letter in key)
    folded = tuple(letter.encode() for plain, letter in (("s", "\u017f"), ("k", "\u212a")) if plain in key)
    return b'"%b"' % key.encode(), re.compile(f'"(?i:{spelled})"'.encode()), foreign, folded


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


def string_span(body: bytes, key: str) -> tuple[int, int]:
    """Offsets of the string value of the top-level ``key``, of a body that a reader has accepted."""
    if may_have_duplicates(body, key):
        return next((start, end) for name, start, end in members(body) if name == key)
    quoted = b'"%b"' % key.encode()
    start = body.index(b'"', body.index(quoted) + len(quoted))
    return start, _string_end(body, start)


def _string_end(body: bytes, start: int) -> int:
    """Offset after the closing quote of the JSON string that opens at ``start``."""
    at = start
    while True:
        at = body.index(b'"', at + 1)
        before = at
        while body[before - 1] == _BACKSLASH:
            before -= 1
        if (at - before) % 2 == 0:
            return at + 1


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

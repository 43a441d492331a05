"""Finds things in JSON bodies without building them: members, scalars, what stands twice.

Offsets are byte offsets in the body as it came; a UTF-8 byte order mark in front does no harm. What msgspec refuses and
Python's ``json`` reads is read here, too (``jsonmend``).
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from itertools import islice
from typing import Any, TypeVar

import msgspec

from extproc.bodies.python_json import mended
from extproc.bodies.request import BodyEdit
from extproc.errors import Rejected, Unreadable

T = TypeVar("T")

BOM = b"\xef\xbb\xbf"
NOTHING = msgspec.Raw(b"")

MAX_MEMBERS = 400
"""Of the top-level object, where they are looked at one by one: more are no request, but an attempt to keep us busy."""

# Nothing is tried twice: possessive throughout.
_KEY = re.compile(rb'[ \t\r\n,]*+("[^"\\]*+(?:\\.[^"\\]*+)*+")[ \t\r\n]*+:[ \t\r\n]*+')
_OPENING = re.compile(rb"(?:\xef\xbb\xbf)?[ \t\r\n]*+\{")
_LETTER = re.compile(rb"\\u00[4-7]")
"""How the escape of an ASCII letter begins."""
_FOREIGN = {"s": rb"\u017", "k": rb"\u212"}
"""How those of the letters begin that are these but for case."""
_ASCII = bytes(range(0x80)) + b"?" * 0x80
_OPENING_BRACKETS = frozenset(b"[{")
_DIGITS = 1024
"""Characters of a number that is read."""
_QUOTE = 0x22
_BACKSLASH = 0x5C  # a number: text is first taken for one, and found to be none
_decode = msgspec.json.Decoder().decode
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
        return body.decode(encoding, "surrogatepass").encode("utf-8", "surrogatepass")  # as json.loads() does it
    except UnicodeError:
        raise Unreadable("bad_json") from None


def spliced(body: bytes, text: bytes, splice: BodyEdit) -> BodyEdit:
    """A change of ``text``, which is ``utf8(body)``, as one of the body."""
    if text is body:
        return splice
    changed = splice.apply(text).decode("utf-8", "surrogatepass")
    return BodyEdit(0, len(body), changed.encode(json.detect_encoding(body), "surrogatepass"))


def loosely(decode: Callable[[bytes], T], text: bytes) -> tuple[T, bytes]:
    """What ``decode`` makes of a text that it has refused as it came, and the text as it was mended for that.

    Raises ``Unreadable("bad_json")`` where it is refused still.
    """
    changed = mended(text)
    try:
        if changed is not None:
            return decode(changed.removeprefix(BOM)), changed
    except (msgspec.DecodeError, RecursionError):
        pass
    raise Unreadable("bad_json")


def is_key(name: str, key: str) -> bool:
    """Whether some server takes ``name`` for ``key`` (lower-case letters and underscores).

    Go's ``encoding/json`` takes keys without regard to case, by Unicode's simple folding: the long s (U+017F) is an
    ``s`` to it, the Kelvin sign (U+212A) a ``k``. ``strings.EqualFold``, which binds forms, does the same.
    """
    return name == key or (len(name) == len(key) and name.casefold() == key)


def once(body: bytes, key: str) -> None:
    """Raises ``Rejected`` (400) where servers would differ on which member at the top level is ``key``: it stands
    twice, however it is spelled, or it is written in other letters than these (``Model``), which only some read.
    """
    if may_repeat(body, key):
        check([name for name, _, _ in members(body) if is_key(name, key)], key, "key")


def check(names: Sequence[str], key: str, what: str) -> None:
    """The same of ``names`` that ``is_key`` has found; ``what`` they are names of."""
    if len(names) > 1:
        raise Rejected(400, f"duplicate_{key}", f"the request body has more than one '{key}' {what}")
    if names and names[0] != key:
        message = f"the request body has the {what} '{key}' in other letters, which only some servers read"
        raise Rejected(400, f"ambiguous_{key}", f"{message}: write '{key}'")


def may_repeat(body: bytes, key: str) -> bool:
    """Whether ``key`` might stand in the body twice, or in other letters. False is sure; True is a suspicion, for
    ``members`` to settle.

    ``key``: lower-case letters and underscores. All but a few bodies are told by a look for ``"key"`` without regard to
    case, and for an escape that can spell a letter of it (``\\u0041`` to ``\\u007a``).
    """
    quoted, spelled, foreign = _looks(key)
    # A search for one byte is many times as fast as one for several, and most bodies end it there.
    escaped = _BACKSLASH in body
    if len(body) < 65_536:
        found = spelled.findall(body)
        letter = escaped and _LETTER.search(body) is not None
    else:
        found = _first(2, spelled, b'"', body)
        letter = escaped and bool(_first(1, _LETTER, b"\\", body))
    for text in foreign:
        letter = letter or text in body
    return len(found) > 1 or found not in ([], [quoted]) or letter


@lru_cache(maxsize=64)
def _looks(key: str) -> tuple[bytes, re.Pattern[bytes], tuple[bytes, ...]]:
    """As it should stand, as it may, and how escapes begin that only this key can have. They are a few of our own."""
    spelled = key.replace("s", "(?:s|\u017f)").replace("k", "(?:k|\u212a)")
    foreign = tuple(_FOREIGN[letter] for letter in _FOREIGN if letter in key)
    return b'"%b"' % key.encode(), re.compile(f'"(?i:{spelled})"'.encode()), foreign


def _first(most: int, pattern: re.Pattern[bytes], byte: bytes, body: bytes) -> list[bytes]:
    """The first ``most`` matches in a large body of a pattern whose matches begin with ``byte``.

    Where that byte is rare (images in base64 have no quotes), hopping from one to the next beats a search for the whole
    pattern by far; where it is not, that shows soon.
    """
    found: list[bytes] = []
    at = -1
    for _ in range(len(body) >> 12):
        at = body.find(byte, at + 1)
        if at < 0:
            return found
        if match := pattern.match(body, at):
            found.append(match[0])
            if len(found) == most:
                return found
    return found + [match[0] for match in islice(pattern.finditer(body, at + 1), most - len(found))]


def members(body: bytes) -> Iterator[tuple[str, int, int]]:
    """(key, start, end) of every member of the top-level object; start and end are the offsets of its value.

    The body must be JSON, or what is taken for it. Raises ``Unreadable("bad_json")`` where there are more than
    ``MAX_MEMBERS``.
    """
    values = _values(body.removeprefix(BOM).translate(_ASCII))  # keys that are not UTF-8 are keys, too
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


def _values(text: bytes) -> list[msgspec.Raw]:
    """The values of the top-level object, those of equal keys too."""
    try:
        return list(_every_member(text).values())
    except msgspec.DecodeError:
        return list(loosely(_every_member, text)[0].values())
    except RecursionError:
        raise Unreadable("bad_json") from None


class _Key:
    """Stands for the key of a member. No two are equal: a dictionary keeps them all."""


def _every_member(text: bytes) -> dict[_Key, msgspec.Raw]:
    left = MAX_MEMBERS

    def key(kind: type, text: Any) -> _Key:  # noqa: ARG001 - msgspec's hook
        nonlocal left
        left -= 1
        if left < 0:
            raise Unreadable("bad_json")
        return _Key()

    return msgspec.json.Decoder(dict[_Key, msgspec.Raw], dec_hook=key).decode(text)


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
    try:
        return _inside(raw, token)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return NOTHING


def _inside(raw: msgspec.Raw, token: str) -> msgspec.Raw:
    first = bytes(memoryview(raw)[:1])
    if first == b"{":
        return _finder(token)(raw)
    if first == b"[" and token.isdecimal():
        items = _decode_items(raw)
        return items[int(token[:9])] if int(token[:9]) < len(items) else NOTHING
    return NOTHING


def scalar_at(body: bytes, pointer: Sequence[str]) -> str | None:
    """The scalar at a JSON Pointer (its tokens, one at least) as text; None where there is no such scalar.

    Of equal keys the last counts. Numbers and booleans are written as JSON writes them.
    """
    text = body.removeprefix(BOM).lstrip(b" \t\r\n")
    try:
        raw = _inside(msgspec.Raw(text), pointer[0])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raw = inside(msgspec.Raw(mended(text) or b""), pointer[0])
    for token in pointer[1:]:
        raw = inside(raw, token)
    value = scalar(raw)
    if value is None or value == "":
        return None
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()

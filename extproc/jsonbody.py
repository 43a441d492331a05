"""Reads a few fields of a JSON request body, and says where they stand. Floor 2: may import floors 0 and 1.

Two readers of one document can disagree: parsers differ in which of two equal keys they take. A gateway that reads one
``model`` and a server that reads another would route one model and serve another, so a second ``model`` is an error
here. Bodies that can't hold a second one (nearly all) are told by two searches for bytes and never pay for the proof.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from typing import Any

import msgspec

from extproc.errors import Rejected, Unreadable
from extproc.request import BodyFields

MAX_MODEL_LENGTH = 256
"""Characters: a longer ``model`` is taken for noise."""

_BOM = b"\xef\xbb\xbf"
_KEY = b'"model"'
# Any escape that can spell a letter of "model" begins so: the five letters are U+0064, 65, 6C, 6D and 6F.
_ESCAPED_LETTER = b"\\u006"


class _Fields(msgspec.Struct):
    model: Any = msgspec.UNSET
    stream: Any = None


_decode = msgspec.json.Decoder(_Fields).decode
# Numbers are skipped, not converted: `len` is the cheapest callable, and has no limit on their digits.
_scanner = json.JSONDecoder(strict=False, parse_int=len, parse_float=len, parse_constant=len)
_SPACE = re.compile(r"[ \t\r\n]*")


class Splice(msgspec.Struct, frozen=True):
    """Bytes ``start`` to ``end`` of a body, and what stands there instead."""

    start: int
    end: int
    data: bytes

    def __call__(self, body: bytes) -> bytes:
        """The whole body with the change made."""
        return b"%b%b%b" % (body[: self.start], self.data, body[self.end :])


def read(body: bytes) -> BodyFields:
    """Model and stream flag of an OpenAI-style body.

    Raises ``Unreadable`` (``no_body``, ``bad_json``, ``no_model``, ``bad_model``), and ``Rejected`` (400) where the key
    ``model`` stands twice at the top level, however it is spelled.
    """
    if not body:
        raise Unreadable("no_body")
    fields = _fields(body)
    if fields.model is msgspec.UNSET:
        raise Unreadable("no_model")
    if _may_repeat(body) and sum(key == "model" for key, _, _ in _members(body)) > 1:
        raise Rejected(400, "duplicate_model", "the request body has more than one 'model' key")
    model = fields.model
    if not isinstance(model, str) or not 0 < len(model) <= MAX_MODEL_LENGTH:
        raise Unreadable("bad_model")
    return BodyFields(model, fields.stream is True)


def replace_model(body: bytes, model: str) -> Splice:
    """The change that puts ``model`` in place of the value of the top-level ``model``; ``read`` must have passed."""
    if _may_repeat(body):
        start, end = next((start, end) for key, start, end in _members(body) if key == "model")
    else:
        start = body.index(b'"', body.index(_KEY) + len(_KEY))
        end = _string_end(body, start)
    return Splice(start, end, msgspec.json.encode(model))


def scalar_at(body: bytes, pointer: Sequence[str]) -> str | None:
    """The scalar at a JSON Pointer (its tokens, one at least) as text; None where there is no such scalar.

    Of equal keys the last counts. Numbers and booleans are written as JSON writes them.
    """
    try:
        # Only the first member is built; the rest of the body is skipped.
        first = msgspec.json.decode(body.removeprefix(_BOM), type=dict[str, msgspec.Raw]).get(pointer[0])
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


def _fields(body: bytes) -> _Fields:
    try:
        return _decode(body.removeprefix(_BOM))
    except (msgspec.DecodeError, RecursionError):
        raise Unreadable("bad_json") from None


def _may_repeat(body: bytes) -> bool:
    """False is sure: there is one key ``model`` at the most. True is a suspicion, for ``_members`` to settle."""
    # A search for one byte is many times as fast as one for several, and most bodies end it there.
    return body.count(_KEY) > 1 or (b"\\" in body and _ESCAPED_LETTER in body)


def _members(body: bytes) -> Iterator[tuple[str, int, int]]:
    """(key, start, end) of every member of the top-level object; start and end are the byte offsets of its value.

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

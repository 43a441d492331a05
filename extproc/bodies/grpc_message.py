"""Reads the first message of a gRPC request, without a schema but for the numbers of a few fields.

Fields are written as paths (``1.2``: field 2 of the message in field 1). gRPC-Web is out of scope: its content type is
refused.
Source: gRPC over HTTP/2 (PROTOCOL-HTTP2.md, "Length-Prefixed-Message"); Protocol Buffers, "Encoding".
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TypeAlias

from extproc.bodies.content_coding import decode
from extproc.bodies.json_reader import MAX_MODEL_LENGTH, JsonReader
from extproc.bodies.request import BodyEdit, BodyFields, RequestFields
from extproc.errors import Unreadable
from extproc.headers import Headers

MAX_FIELDS = 1000
"""Fields of one message, nested ones included. No inference request has as many."""
MAX_UNPACKED = 32 << 20
"""Bytes of a compressed message after it is unpacked."""

_PREFIX = 5
_CODINGS = frozenset(("gzip", "deflate"))
_PROTO = frozenset(("application/grpc", "application/grpc+proto"))

Path: TypeAlias = tuple[int, ...]
Field: TypeAlias = tuple[int, int, int, int, int]
"""(number, wire type, start of the field, start of its value or the number that it is, end)."""


def is_grpc(headers: Headers) -> bool:
    """Whether the client speaks gRPC and expects gRPC errors."""
    kind = headers.text("content-type").lower()
    return kind.startswith("application/grpc") and kind[16:17] in ("", "+", ";")


class GrpcReader:
    """Reads one type of request message. Only the first message is needed; later ones are not waited for."""

    early = True

    def __init__(
        self,
        *,
        model: str = "",
        version: str = "",
        version_number: str = "",
        stream: str = "",
        limit: str = "",
        prompt: Sequence[str] = (),
    ) -> None:
        """Paths of fields; empty where the API has none. ``version_number`` is an integer, in a oneof with ``version``:
        the last of both counts.
        """
        self._model = _path(model)
        texts = {self._model: "model", _path(version): "version"} | {_path(p): "prompt" for p in prompt}
        numbers = {_path(version_number): "version", _path(stream): "stream", _path(limit): "limit"}
        self._wanted = {(path, 2): role for path, role in texts.items() if path} | {
            (path, 0): role for path, role in numbers.items() if path
        }
        self._inner = {path[:depth] for path, _ in self._wanted for depth in range(1, len(path))}

    def read(self, body: bytes, headers: Headers) -> RequestFields | int:
        """The fields of the first message; the number of bytes needed where it is not complete.

        The whole message is needed, since the last of repeated fields counts. Raises ``Unreadable`` (``content_type``,
        ``bad_grpc``, ``content_encoding``, ``no_model``, ``bad_model``), ``TooLarge`` (see ``decode``).
        """
        message = self._first_message(body, headers)
        if isinstance(message, int):
            return message
        found: dict[str, bytes | int] = {"prompt": 0}
        for role, field in self._wanted_fields(message):
            _, wire, _, value, end = field
            if role == "prompt":
                found[role] = int(found[role]) + end - value
            else:
                found[role] = message[value:end] if wire == 2 else value
        version = found.get("version", b"")
        limit = int(found.get("limit", 0)) & 0xFFFF_FFFF
        return BodyFields(
            self._model_name(found.get("model", b"")) if self._model else "",
            (_text(version) if isinstance(version, bytes) else str(_to_signed(version))) or None,
            bool(found.get("stream", 0)),
            None,
            limit or None,
            int(found["prompt"]),
        )

    def rename(self, body: bytes, headers: Headers, model: str) -> BodyEdit | None:
        """The edit after which the first message, uncompressed, names ``model``; ``read`` must have accepted it.

        All fields at the model's path are replaced: a batch may name the model once a task.
        """
        return self._edit(body, headers, model.encode()) if self._model else None

    def _first_message(self, body: bytes, headers: Headers) -> bytes | int:
        """The first message; the number of bytes needed where it is not complete."""
        if headers.text("content-type").lower().partition(";")[0].strip() not in _PROTO:
            raise Unreadable("content_type")
        if len(body) < _PREFIX or len(body) < _frame_length(body):
            return _PREFIX if len(body) < _PREFIX else _frame_length(body)
        return _unpack_message(body, headers)

    def _edit(self, body: bytes, headers: Headers, value: bytes) -> BodyEdit:
        """The edit that replaces every field of the model by ``value``."""
        message = _unpack_message(body, headers)
        changed, kept = _replace_fields(message, 0, len(message), self._model, value)
        prefix = b"\0" + (len(changed) + len(message) - kept).to_bytes(4)
        if body[0]:
            return BodyEdit(0, _frame_length(body), prefix + changed + message[kept:])
        return BodyEdit(0, _PREFIX + kept, prefix + changed)

    def _wanted_fields(self, message: bytes) -> Iterator[tuple[str, Field]]:
        """(role, field) of the fields that are read, in the order of the message."""
        budget = MAX_FIELDS
        open_messages: list[tuple[Path, Iterator[Field]]] = [((), fields_of(message, 0, len(message)))]
        while open_messages:
            above, fields = open_messages[-1]
            for field in fields:
                budget -= 1
                if not budget:
                    raise Unreadable("bad_grpc")
                path = (*above, field[0])
                if (path, field[1]) in self._wanted:
                    yield self._wanted[path, field[1]], field
                elif path in self._inner and field[1] == 2:
                    open_messages.append((path, fields_of(message, field[3], field[4])))
                    break
            else:
                open_messages.pop()

    def _model_name(self, value: bytes | int) -> str:
        if not value or not isinstance(value, bytes):
            raise Unreadable("no_model")
        model = _text(value)
        if len(model) > MAX_MODEL_LENGTH:
            raise Unreadable("bad_model")
        return model


class GrpcJsonReader(GrpcReader):
    """Reads messages that hold a JSON body (``google.api.HttpBody``). The last of repeated fields counts."""

    def __init__(self, path: str, inner: JsonReader) -> None:
        """``path``: the field with the JSON; ``inner``: reads the JSON."""
        super().__init__(model=path)
        self.inner = inner

    def read(self, body: bytes, headers: Headers) -> RequestFields | int:
        """The fields of the JSON; the number of bytes needed where the message is not complete.

        Raises what ``inner`` raises, too.
        """
        message = self._first_message(body, headers)
        return message if isinstance(message, int) else self.inner.read(self._json(message), headers)

    def rename(self, body: bytes, headers: Headers, model: str) -> BodyEdit | None:
        """The edit after which the JSON names ``model``; the message becomes uncompressed."""
        held = self._json(_unpack_message(body, headers))
        splice = self.inner.rename(held, headers, model)
        return splice and self._edit(body, headers, splice.apply(held))

    def _json(self, message: bytes) -> bytes:
        held = b""
        for _, (_, _, _, value, end) in self._wanted_fields(message):
            held = message[value:end]
        return held


def _path(text: str) -> Path:
    return tuple(int(number) for number in text.split(".")) if text else ()


def _frame_length(body: bytes) -> int:
    """Length in bytes of the first message with its prefix."""
    return _PREFIX + int.from_bytes(body[1:_PREFIX])


def _unpack_message(body: bytes, headers: Headers) -> bytes:
    message = body[_PREFIX : _frame_length(body)]
    if body[0] == 0:
        return message
    coding = headers.text("grpc-encoding").strip()
    if body[0] != 1 or coding in ("", "identity"):
        raise Unreadable("bad_grpc")
    if coding not in _CODINGS:
        raise Unreadable("content_encoding")
    return decode(message, coding, MAX_UNPACKED)


def _text(value: bytes) -> str:
    """The text of a string field. Raises ``Unreadable``, as servers refuse one that is not UTF-8."""
    try:
        return value.decode()
    except UnicodeDecodeError:
        raise Unreadable("bad_model") from None


def _to_signed(number: int) -> int:
    """The int64 that a varint encodes."""
    return number - (1 << 64) if number >> 63 else number


def fields_of(message: bytes, at: int, end: int) -> Iterator[Field]:
    """The fields of the message from ``at`` to ``end``. Raises ``Unreadable("bad_grpc")``; groups are refused."""
    while at < end:
        start = at
        tag = message[at]
        if tag < 0x80:  # the common case, without a call
            at += 1
        else:
            tag, at = _read_varint(message, at, end)
        number, wire = tag >> 3, tag & 7
        if wire == 2:
            if at < end and message[at] < 0x80:
                value = at + 1
                at = value + message[at]
            else:
                size, value = _read_varint(message, at, end)
                at = value + size
        elif wire == 0:
            value, at = _read_varint(message, at, end)
        elif wire in (1, 5):
            value, at = at, at + (8 if wire == 1 else 4)
        else:
            raise Unreadable("bad_grpc")
        if at > end or not 0 < number < 1 << 29:
            raise Unreadable("bad_grpc")
        yield number, wire, start, value, at


def _read_varint(message: bytes, at: int, end: int) -> tuple[int, int]:
    """(number, offset after it). Raises ``Unreadable("bad_grpc")``."""
    if at < end and message[at] < 0x80:
        return message[at], at + 1
    number = 0
    for n, byte in enumerate(message[at : min(at + 10, end)]):
        number |= (byte & 0x7F) << 7 * n
        if byte < 0x80:
            return number & 0xFFFF_FFFF_FFFF_FFFF, at + n + 1
    raise Unreadable("bad_grpc")


def _encode_varint(number: int) -> bytes:
    found = bytearray()
    while number > 0x7F:
        found.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes((*found, number))


def _replace_fields(message: bytes, at: int, end: int, path: Path, name: bytes) -> tuple[bytes, int]:
    """(the message up to the last field at ``path``, with all such fields replaced; offset after that field)."""
    pieces: list[bytes] = []
    kept = at
    for number, wire, start, value, after in fields_of(message, at, end):
        if number != path[0] or wire != 2:
            continue
        inner = name
        if len(path) > 1:
            changed, rest = _replace_fields(message, value, after, path[1:], name)
            inner = changed + message[rest:after]
        pieces += (message[kept:start], _encode_varint(number << 3 | 2), _encode_varint(len(inner)), inner)
        kept = after
    return b"".join(pieces), kept

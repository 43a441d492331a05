"""Header blocks: what a request's says, checked (RFC 9113 §8.2, §8.3; RFC 7541 by ``hpack``). Floor 5.

May import floors 0 to 4. A client opens stream after stream with the same few headers, which HPACK makes the same few
bytes. While its table stays as it is, equal blocks mean equal headers: so the last blocks are remembered.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterable, Sequence

from hpack import Decoder
from hpack.exceptions import HPACKError, OversizedHeaderListError

from extproc.engine.contract import Metadata

MAX_BLOCK = 1 << 16
"""Bytes of headers, packed or unpacked."""
_REMEMBERED, _LONG = 64, 4096
"""Blocks, and bytes of one: those of our clients have some hundred."""
_PSEUDO = (b":method", b":scheme", b":path")
_CONNECTION = frozenset((b"connection", b"proxy-connection", b"keep-alive", b"transfer-encoding", b"upgrade"))
_NAME = re.compile(rb"[!#$%&'*+\-.^_`|~0-9a-z]+")
_MISSING = "a pseudo-header is missing"
_CONTROL = re.compile(rb"[\0\r\n]")
_OWN = frozenset((b"te", b"content-type", b"grpc-timeout", b"grpc-encoding", b"grpc-accept-encoding"))
"""Headers that gRPC itself speaks by; all others are the caller's metadata."""


class Undecodable(Exception):  # noqa: N818
    """The connection's state of compression is lost: nothing that follows can be understood."""


class TooMany(Exception):  # noqa: N818
    """More headers than we take."""


class Head:
    """The headers of one request."""

    __slots__ = ("_fields", "fault", "length", "method", "path", "trails", "type")

    def __init__(self, fields: Sequence[tuple[bytes, bytes]]) -> None:
        self._fields = fields
        self.fault = _fault(fields)
        """What makes it malformed; empty where nothing does."""
        found = dict(fields)
        self.trails = self.fault == _MISSING and not any(name[:1] == b":" for name in found)
        """They may be trailers: nothing is wrong with them but that no request begins so."""
        self.method = found.get(b":method", b"")
        self.path = found.get(b":path", b"")
        self.type = found.get(b"content-type", b"")
        length = found.get(b"content-length")
        self.length = int(length) if length is not None and not self.fault else None
        """Bytes of the body, where it tells."""

    @property
    def metadata(self) -> Metadata:
        """gRPC's, without what it says of itself."""
        return tuple(
            (name.decode("latin-1"), value)
            for name, raw in self._fields
            if name[:1] != b":" and name not in _OWN
            for value in _values(name, raw)
        )


class Heads:
    """The header blocks that one client sends."""

    def __init__(self) -> None:
        self._decoder = Decoder(max_header_list_size=MAX_BLOCK)
        self._remembered: dict[bytes, Head] = {}

    def read(self, block: bytes) -> Head:
        """Every block must pass here, in order. Raises ``Undecodable`` and ``TooMany``."""
        head = self._remembered.get(block)
        if head is not None:
            return head
        before = self._table()
        try:
            fields = [(bytes(name), bytes(value)) for name, value in self._decoder.decode(block, raw=True)]
        except OversizedHeaderListError:
            raise TooMany(f"more than {MAX_BLOCK} bytes of headers") from None
        except HPACKError:
            raise Undecodable("headers that can't be unpacked") from None
        head = Head(fields)
        unchanged = self._table() == before
        if not unchanged or len(self._remembered) >= _REMEMBERED:
            self._remembered.clear()
        if unchanged and len(block) <= _LONG:
            self._remembered[block] = head
        return head

    def _table(self) -> _Table:
        table = self._decoder.header_table
        entries = table.dynamic_entries
        return _Table(entries[0] if entries else None, len(entries), table.maxsize)


class _Table:
    """What a table of headers is known by: it takes in at the front and drops at the end.

    The newest entry counts by its identity, which is its own for as long as it is held here.
    """

    __slots__ = ("_limit", "_newest", "_size")

    def __init__(self, newest: object, size: int, limit: int) -> None:
        self._newest, self._size, self._limit = newest, size, limit

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, _Table)
            and self._newest is other._newest
            and (self._size, self._limit) == (other._size, other._limit)
        )

    __hash__ = None  # type: ignore[assignment]


def _fault(fields: Iterable[tuple[bytes, bytes]]) -> str:
    seen: set[bytes] = set()
    regular = False
    for name, value in fields:
        if _CONTROL.search(value):
            return "a value with a line's or a string's end in it"
        if name[:1] == b":":
            if regular or name in seen or name not in (*_PSEUDO, b":authority"):
                return "a pseudo-header that is unknown, twice there, or after others"
            if not value and name != b":authority":
                return "an empty pseudo-header"
            seen.add(name)
        else:
            regular = True
            if not _NAME.fullmatch(name):
                return "a header name that is none"
            if name == b"content-length":
                if name in seen or not (value.isdigit() and len(value) < 19):
                    return "a length that is none, or twice there"
                seen.add(name)
            if name in _CONNECTION or (name == b"te" and value != b"trailers"):
                return "a header that is for HTTP/1 connections"
    if not seen.issuperset(_PSEUDO):
        return _MISSING
    return ""


def _values(name: bytes, value: bytes) -> list[str | bytes]:
    if not name.endswith(b"-bin"):
        return [value.decode("latin-1")]
    # Several may come as one, and padding is optional (PROTOCOL-HTTP2.md, "Custom-Metadata").
    found: list[str | bytes] = []
    for part in value.split(b","):
        try:
            found.append(base64.b64decode(part + b"=" * (-len(part) % 4), validate=True))
        except binascii.Error:
            continue
    return found

"""Header blocks: what a request's says, and whether it may say so (RFC 9113 §8.2, §8.3).

A client opens stream after stream with the same few headers, which HPACK makes the same few
bytes. While its table stays as it is, equal blocks mean equal headers: so the last blocks are remembered. Where it
traces, each block is another, and is unpacked.
"""

from __future__ import annotations

from collections.abc import Sequence

from extproc.http2.flood_limits import REMEMBERED_BYTES, Ledger
from extproc.http2.header_fields import PSEUDO, REQUIRED, Field, seen
from extproc.http2.hpack import HpackDecoder

_REMEMBERED, _LONG = 64, 4096
"""Blocks, and bytes of one: those of our clients have some hundred."""
_BYTES, _HEAD, _FIELD = 1 << 17, 512, 6
"""Bytes that one connection may remember, that a block takes by itself, and for each byte of its fields as RFC 9113
counts them (§6.5.2): the smallest field has 33 there, and takes 190 here.
"""


class RequestHead:
    """The headers of one request."""

    __slots__ = ("fields", "length", "malformed", "method", "path", "trails", "type")

    def __init__(self, fields: Sequence[Field]) -> None:
        self.fields = fields
        """In the order they came."""
        found = seen(fields)
        self.malformed = found & REQUIRED != REQUIRED
        self.trails = found != 0 and not found & PSEUDO
        """They may be trailers: nothing is wrong with them but that no request begins so."""
        values = {field.name: field.value for field in fields}
        self.method = values.get(b":method", b"")
        self.path = values.get(b":path", b"")
        self.type = values.get(b"content-type", b"")
        length = values.get(b"content-length")
        self.length = int(length) if length is not None and not self.malformed else None
        """Bytes of the body, where it tells."""


class HeaderBlockReader:
    """The header blocks that one client sends."""

    def __init__(self, ledger: Ledger | None = None) -> None:
        """``ledger``: of all connections of the process; None: this one is alone."""
        self._unpacker = HpackDecoder()
        self._remembered: dict[bytes, RequestHead] = {}
        self._ledger = ledger or Ledger()
        self._size = 0

    def read(self, block: bytes) -> RequestHead:
        """Every block must pass here, in order. Raises ``Undecodable`` and ``TooMany``."""
        head = self._remembered.get(block)
        if head is not None:
            return head
        before = self._unpacker.changes
        head = RequestHead(self._unpacker.read(block))
        unchanged = self._unpacker.changes == before
        if not unchanged or len(self._remembered) >= _REMEMBERED:
            self.forget()
        if unchanged and len(block) <= _LONG:
            self._remember(block, head)
        return head

    def forget(self) -> None:
        """All blocks."""
        self._remembered.clear()
        self._ledger.remembered -= self._size
        self._size = 0

    def _remember(self, block: bytes, head: RequestHead) -> None:
        size = _HEAD + len(block) + _FIELD * self._unpacker.size
        if self._size + size > _BYTES:
            self.forget()
        if size <= _BYTES and self._ledger.remembered + size <= REMEMBERED_BYTES:
            self._remembered[block] = head
            self._size += size
            self._ledger.remembered += size

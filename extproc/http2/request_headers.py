"""Header blocks of requests: their fields, and whether those make a valid request (RFC 9113 §8.2, §8.3).

A client opens stream after stream with the same few headers, which HPACK encodes as the same few bytes. While its table
does not change, equal blocks have equal fields, so the last blocks are cached. Where a client traces, each block has a
``traceparent`` of its own, and is decoded.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from extproc.http2.header_fields import PSEUDO, REQUIRED, Field, kinds_of
from extproc.http2.hpack import HpackDecoder
from extproc.http2.memory_budget import CACHED_HEADER_BYTES, MemoryBudget

MAX_CACHED_BLOCKS: Final = 64
MAX_CACHED_BLOCK: Final = 4096
"""Bytes of an encoded block that is cached: those of our clients have some hundred."""
MAX_CACHED_BYTES: Final = 1 << 17
"""Of a connection."""
BYTES_PER_BLOCK: Final = 512
"""Memory that a cached block takes beside its fields."""
BYTES_PER_FIELD_BYTE: Final = 6
"""Memory for each byte of the fields as RFC 9113 counts them (§6.5.2): the smallest field has 33 and takes 190."""


class RequestHead:
    """The headers of one request."""

    __slots__ = ("content_length", "content_type", "fields", "malformed", "may_be_trailers", "method", "path")

    def __init__(self, fields: Sequence[Field]) -> None:
        self.fields = fields
        """In the order they came."""
        kinds = kinds_of(fields)
        self.malformed = kinds & REQUIRED != REQUIRED
        self.may_be_trailers = kinds != 0 and not kinds & PSEUDO
        """They are valid, and have no pseudo-header."""
        values = {field.name: field.value for field in fields}
        self.method = values.get(b":method", b"")
        self.path = values.get(b":path", b"")
        self.content_type = values.get(b"content-type", b"")
        length = values.get(b"content-length")
        self.content_length = int(length) if length is not None and not self.malformed else None
        """Bytes of the body, where it is given."""


class HeaderBlockReader:
    """The header blocks that one client sends."""

    def __init__(self, budget: MemoryBudget | None = None) -> None:
        """``budget``: of all connections of the process; None: this one is alone."""
        self._decoder = HpackDecoder()
        self._cache: dict[bytes, RequestHead] = {}
        self._budget = budget or MemoryBudget()
        self._cached_bytes = 0
        self.work = 0
        """What the last block cost, in units of ``ConnectionSender.work``; nothing where it was cached."""

    def read(self, block: bytes) -> RequestHead:
        """Every block of the client must be read, in order. Raises as ``HpackDecoder.read``."""
        head = self._cache.get(block)
        if head is not None:
            self.work = 0
            return head
        before = self._decoder.changes
        head = RequestHead(self._decoder.read(block))
        self.work = self._decoder.work
        unchanged = self._decoder.changes == before
        if not unchanged or len(self._cache) >= MAX_CACHED_BLOCKS:
            self.clear()
        if unchanged and len(block) <= MAX_CACHED_BLOCK:
            self._add(block, head)
        return head

    def clear(self) -> None:
        """Forgets all blocks."""
        self._cache.clear()
        self._budget.cached_headers -= self._cached_bytes
        self._cached_bytes = 0

    def _add(self, block: bytes, head: RequestHead) -> None:
        size = BYTES_PER_BLOCK + len(block) + BYTES_PER_FIELD_BYTE * self._decoder.size
        if self._cached_bytes + size > MAX_CACHED_BYTES:
            self.clear()
        if size <= MAX_CACHED_BYTES and self._budget.cached_headers + size <= CACHED_HEADER_BYTES:
            self._cache[block] = head
            self._cached_bytes += size
            self._budget.cached_headers += size

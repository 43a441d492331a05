"""HPACK: header blocks to fields, sans-I/O (RFC 7541). Encoded are only constants (``grpc_server.call``).

We never announce another size of the dynamic table than its initial one, so a client never owes us a change (§4.2).
"""

from __future__ import annotations

from typing import Final

from extproc.http2.frames import COMPRESSION_ERROR, ENHANCE_YOUR_CALM, Http2ConnectionError
from extproc.http2.header_fields import Field
from extproc.http2.huffman import decode
from extproc.http2.limits import MAX_BLOCK, MAX_LITERALS, MAX_TABLE_CHANGES

MAX_TABLE: Final = 4096
"""Bytes of the dynamic table, as the RFC counts them (§4.1): the initial value of SETTINGS_HEADER_TABLE_SIZE."""
MAX_CACHED_LITERALS: Final = 64
MAX_CACHED_LITERAL: Final = 256
"""Bytes of the name and the value of a literal that is cached."""
_LITERAL_WORK: Final = 3
"""What a literal costs, in units of ``ConnectionSender.work``, beside one for each 16 bytes of the block, which may be
Huffman's code, and one for four fields of any kind.
"""


class HpackError(Http2ConnectionError):
    """The connection's state of compression is lost: nothing that follows can be decoded (RFC 9113 §4.3)."""

    def __init__(self, text: str) -> None:
        super().__init__(COMPRESSION_ERROR, text)


class HeadersTooLarge(Http2ConnectionError):  # noqa: N818 - named for the case
    """More than ``MAX_BLOCK`` bytes of fields (RFC 9113 §10.5.1)."""

    def __init__(self) -> None:
        super().__init__(ENHANCE_YOUR_CALM, f"more than {MAX_BLOCK} bytes of headers")


class TooManyInstructions(Http2ConnectionError):  # noqa: N818 - named for the case
    """A block of few bytes that costs much: of more than ``MAX_LITERALS`` or ``MAX_TABLE_CHANGES``."""

    def __init__(self) -> None:
        super().__init__(ENHANCE_YOUR_CALM, "too many literals or changes of the table's size in a block of headers")


class HpackDecoder:
    """Decodes the header blocks of one client. After an exception it is of no more use."""

    def __init__(self) -> None:
        self._table: list[Field] = list(_STATIC)
        """By index: the static table, then the dynamic one, newest entry first (§2.3.3)."""
        self._size, self._limit = 0, MAX_TABLE
        self._literals: dict[tuple[bytes, bool, bytes], Field] = {}
        """Literals without indexing by name, encoding and bytes of their values: clients repeat them."""
        self.size = 0
        """Bytes of the last block's fields (RFC 9113 §6.5.2)."""
        self.work = 0
        """What the last block cost, in units of ``ConnectionSender.work``."""
        self.changes = 0
        """Changes of the dynamic table so far: between two changes equal blocks have equal fields."""

    def read(self, block: bytes) -> list[Field]:
        """The fields of a block, in order. Raises ``HpackError``, ``HeadersTooLarge`` and ``TooManyInstructions``."""
        try:
            return self._read(block)
        except IndexError:
            raise HpackError("a block that is cut off, or a header that is in no table") from None

    def _read(self, block: bytes) -> list[Field]:
        fields: list[Field] = []
        table, room, at, end = self._table, MAX_BLOCK, 0, len(block)
        literals = table_changes = 0
        while at < end:
            byte = block[at]
            at += 1
            if byte > 0x80:  # §6.1
                index = byte & 0x7F
                if index == 0x7F:
                    index, at = _number(block, at, 0x7F)
                field = table[index]
            elif byte == 0x80:
                raise HpackError("the header of number 0")
            elif byte & 0xE0 == 0x20:
                table_changes += 1
                if fields:
                    raise HpackError("another size of the table amidst headers")
                if table_changes > MAX_TABLE_CHANGES:
                    raise TooManyInstructions
                size, at = _number(block, at, 0x1F) if byte == 0x3F else (byte & 0x1F, at)
                self._resize(size)
                continue
            else:
                literals += 1
                if literals > MAX_LITERALS:
                    raise TooManyInstructions
                field, at = self._literal(block, at, byte)
            room -= field.size
            if room < 0:
                raise HeadersTooLarge
            fields.append(field)
        self.size = MAX_BLOCK - room
        self.work = _LITERAL_WORK * literals + (len(fields) >> 2) + (end >> 4)
        return fields

    def _literal(self, block: bytes, at: int, byte: int) -> tuple[Field, int]:
        """§6.2: with incremental indexing, without indexing, or never indexed."""
        prefix = 0x3F if byte & 0x40 else 0xF
        index = byte & prefix
        if index == prefix:
            index, at = _number(block, at, prefix)
        if index:
            name = self._table[index].name
        else:
            huffman, name, at = _string(block, at)
            name = _text(huffman, name)
        huffman, value, at = _string(block, at)
        if byte & 0x40:
            field = Field(name, _text(huffman, value))
            self._add(field)
            return field, at
        if byte >= 0x10 or len(name) + len(value) > MAX_CACHED_LITERAL:
            return Field(name, _text(huffman, value)), at
        literals, key = self._literals, (name, huffman, value)
        cached = literals.get(key)
        if cached is None:
            if len(literals) >= MAX_CACHED_LITERALS:
                literals.clear()
            cached = literals[key] = Field(name, _text(huffman, value))
        return cached, at

    def _add(self, field: Field) -> None:
        """§4.4: a field that is larger than the table empties it, and is no error."""
        self.changes += 1
        self._evict(self._limit - field.size)
        if field.size <= self._limit:
            self._table.insert(len(_STATIC), field)
            self._size += field.size

    def _resize(self, limit: int) -> None:
        """§6.3."""
        if limit > MAX_TABLE:
            raise HpackError("a table larger than we allow")
        self.changes += 1
        self._limit = limit
        self._evict(limit)

    def _evict(self, limit: int) -> None:
        """Drops the oldest entries until the table has at most ``limit`` bytes (§4.3)."""
        while self._size > limit and self._size:
            self._size -= self._table.pop().size


def _number(block: bytes, at: int, number: int) -> tuple[int, int]:
    """§5.1: a number that did not fit into its prefix, and the position after it."""
    for shift in range(0, 35, 7):
        byte = block[at]
        at += 1
        number += (byte & 0x7F) << shift
        if byte < 0x80:
            return number, at
    raise HpackError("a number of more than six bytes")


def _string(block: bytes, at: int) -> tuple[bool, bytes, int]:
    """§5.2: whether it is Huffman encoded, its bytes, and the position after it."""
    byte = block[at]
    size = byte & 0x7F
    at += 1
    if size == 0x7F:
        size, at = _number(block, at, 0x7F)
    end = at + size
    if end > len(block):
        raise HpackError("a string that is cut off")
    return byte >= 0x80, block[at:end], end


def _text(huffman: bool, data: bytes) -> bytes:
    try:
        return decode(data) if huffman else data
    except ValueError as error:
        raise HpackError(f"Huffman's code with {error}") from None


_STATIC: Final = tuple(
    Field(name, value)
    for name, _, value in (
        entry.partition(b"=")
        for entry in (
            b"|:authority|:method=GET|:method=POST|:path=/|:path=/index.html|:scheme=http|:scheme=https|:status=200"
            b"|:status=204|:status=206|:status=304|:status=400|:status=404|:status=500|accept-charset"
            b"|accept-encoding=gzip, deflate|accept-language|accept-ranges|accept|access-control-allow-origin|age|allow"
            b"|authorization|cache-control|content-disposition|content-encoding|content-language|content-length"
            b"|content-location|content-range|content-type|cookie|date|etag|expect|expires|from|host|if-match"
            b"|if-modified-since|if-none-match|if-range|if-unmodified-since|last-modified|link|location|max-forwards"
            b"|proxy-authenticate|proxy-authorization|range|referer|refresh|retry-after|server|set-cookie"
            b"|strict-transport-security|transfer-encoding|user-agent|vary|via|www-authenticate"
        ).split(b"|")
    )
)
"""The static table (appendix A). Indexes begin with 1: the first element is a placeholder."""

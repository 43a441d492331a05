"""Header blocks: HPACK, the reader's side of it, sans-I/O (RFC 7541).

The writer's side is constants (``call``). We never announce another size of the table than the one that holds from the
start, so no change of it is ever due (§4.2).
"""

from __future__ import annotations

from typing import Final

from extproc.http2.header_fields import Field
from extproc.http2.huffman import decode

MAX_BLOCK: Final = 1 << 16
"""Bytes of headers, packed or unpacked."""
MAX_TABLE: Final = 4096
"""Bytes of a table of headers, as the RFC counts them, until SETTINGS say otherwise (RFC 9113 §6.5.2)."""
_LITERALS, _LONG = 64, 256
"""Fields remembered beside the table, and bytes of one."""


class HpackError(Exception):
    """The connection's state of compression is lost: nothing that follows can be understood."""


class HeadersTooLarge(Exception):  # noqa: N818
    """More headers than we take."""


class HpackDecoder:
    """What one client has packed. After an exception it is of no more use."""

    def __init__(self) -> None:
        self._table: list[Field] = list(_STATIC)
        """By index: what everybody has, then this client's, the newest first (§2.3.3)."""
        self._size, self._limit = 0, MAX_TABLE
        self._literals: dict[tuple[bytes, bool, bytes], Field] = {}
        """Fields that came for no table, by how their values were written: a client says them again and again."""
        self.size = 0
        """Bytes of the last block's fields (RFC 9113 §6.5.2)."""
        self.changes = 0
        """Of the table: as long as there is none, equal blocks mean equal fields."""

    def read(self, block: bytes) -> list[Field]:
        """The fields of a block, in order. Raises ``Undecodable`` and ``TooMany``."""
        try:
            return self._read(block)
        except IndexError:
            raise HpackError("a block that is cut off, or a header that is in no table") from None

    def _read(self, block: bytes) -> list[Field]:
        fields: list[Field] = []
        table, room, at, end = self._table, MAX_BLOCK, 0, len(block)
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
                if fields:
                    raise HpackError("another size of the table amidst headers")
                size, at = _number(block, at, 0x1F) if byte == 0x3F else (byte & 0x1F, at)
                self._resize(size)
                continue
            else:
                field, at = self._literal(block, at, byte)
            room -= field.size
            if room < 0:
                raise HeadersTooLarge(f"more than {MAX_BLOCK} bytes of headers")
            fields.append(field)
        self.size = MAX_BLOCK - room
        return fields

    def _literal(self, block: bytes, at: int, byte: int) -> tuple[Field, int]:
        """§6.2: for the table, for none, or for none ever."""
        most = 0x3F if byte & 0x40 else 0xF
        index = byte & most
        if index == most:
            index, at = _number(block, at, most)
        if index:
            name = self._table[index].name
        else:
            packed, name, at = _string(block, at)
            name = _text(packed, name)
        packed, value, at = _string(block, at)
        if byte & 0x40:
            field = Field(name, _text(packed, value))
            self._add(field)
            return field, at
        if byte >= 0x10 or len(name) + len(value) > _LONG:
            return Field(name, _text(packed, value)), at
        literals, key = self._literals, (name, packed, value)
        known = literals.get(key)
        if known is None:
            if len(literals) >= _LITERALS:
                literals.clear()
            known = literals[key] = Field(name, _text(packed, value))
        return known, at

    def _add(self, field: Field) -> None:
        """§4.4: a field that is too large for the table empties it, and is no error."""
        self.changes += 1
        self._shrink(self._limit - field.size)
        if field.size <= self._limit:
            self._table.insert(len(_STATIC), field)
            self._size += field.size

    def _resize(self, limit: int) -> None:
        """§6.3."""
        if limit > MAX_TABLE:
            raise HpackError("a table larger than we allow")
        self.changes += 1
        self._limit = limit
        self._shrink(limit)

    def _shrink(self, limit: int) -> None:
        """§4.3: the oldest go."""
        while self._size > limit and self._size:
            self._size -= self._table.pop().size


def _number(block: bytes, at: int, number: int) -> tuple[int, int]:
    """§5.1: the rest of a number whose prefix is full, and where it ends."""
    for shift in range(0, 35, 7):
        byte = block[at]
        at += 1
        number += (byte & 0x7F) << shift
        if byte < 0x80:
            return number, at
    raise HpackError("a number of more than six bytes")


def _string(block: bytes, at: int) -> tuple[bool, bytes, int]:
    """§5.2: whether it is in Huffman's code, its bytes, and where it ends."""
    byte = block[at]
    size = byte & 0x7F
    at += 1
    if size == 0x7F:
        size, at = _number(block, at, 0x7F)
    end = at + size
    if end > len(block):
        raise HpackError("a string that is cut off")
    return byte >= 0x80, block[at:end], end


def _text(packed: bool, data: bytes) -> bytes:
    try:
        return decode(data) if packed else data
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
"""Appendix A. Its numbers begin with 1: what stands first is no entry, and is never read."""

"""Our reader of header blocks beside the library ``hpack``'s: on every block they agree, and on the table after it."""

from __future__ import annotations

from hpack import Decoder
from hpack.exceptions import HPACKError, OversizedHeaderListError

from extproc.http2.hpack import HeadersTooLarge, HpackDecoder, HpackError, TooManyInstructions
from extproc.http2.limits import MAX_BLOCK

Pairs = list[tuple[bytes, bytes]]


class Both:
    """One client's blocks, read by both."""

    def __init__(self) -> None:
        self.ours = HpackDecoder()
        self._theirs = Decoder(max_header_list_size=MAX_BLOCK)

    @property
    def table(self) -> Pairs:
        """Our dynamic table, the newest first."""
        return [(field.name, field.value) for field in self.ours._table[62:]]

    def read(self, block: bytes) -> Pairs | type[Exception]:
        """The fields, or how both refuse it: after that neither may be asked again. The library has no bounds of
        instructions.
        """
        found, expected = self._read(block), self._ask(block)
        if found is TooManyInstructions:
            return found
        assert found == expected, (found, expected)
        if isinstance(found, list):
            theirs = self._theirs.header_table
            assert self.table == [(bytes(name), bytes(value)) for name, value in theirs.dynamic_entries]
            assert (self.ours._size, self.ours._limit) == (theirs._current_size, theirs.maxsize)
        return found

    def _read(self, block: bytes) -> Pairs | type[Exception]:
        try:
            return [(field.name, field.value) for field in self.ours.read(block)]
        except (HeadersTooLarge, HpackError, TooManyInstructions) as error:
            return type(error)

    def _ask(self, block: bytes) -> Pairs | type[Exception]:
        try:
            return [(bytes(name), bytes(value)) for name, value in self._theirs.decode(block, raw=True)]
        except OversizedHeaderListError:
            return HeadersTooLarge
        except HPACKError:
            return HpackError

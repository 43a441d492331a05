"""The interface of all decoders of answers, and the bound on how many events one may give."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, TypeAlias

Event: TypeAlias = tuple[str, bytes, bool]
"""(kind as the framing names it, or empty; data; whether that is all of the data and not only its ends)."""

ERROR = ":error"
"""The kind of an event with which the framing itself says that the answer has failed."""

CLIENT_ERROR = ":client-error"
"""The same where the failure is the client's."""
FAILED = (ERROR, CLIENT_ERROR)

RAW_OUTPUT = ":bare"
"""The kind of a piece that is output by itself, with no data to read."""


MAX_EVENTS, MAX_MESSAGES, MAX_LINES = 1000, 1000, 2000
"""In one piece of an answer: no model writes as many at once, and reading them would delay other streams. Messages are
those of gRPC.
"""
BYTES_PER_EVENT, BYTES_PER_MESSAGE, BYTES_PER_PACKED_EVENT, BYTES_PER_LINE = 64, 16, 8, 8
"""So many bytes of an answer, as it comes, allow one more. The shortest events that a server writes by thousands are 64
bytes long (Cohere's first version; others 100 to 300), the shortest messages 16 (vLLM's). Packed events are those of a
compressed answer.
"""
EVENTS_PER_PIECE = 8
"""Events, or messages, that each piece allows beside its bytes: a stream whose tokens come one by one, as they are
made, never spends more than it earns, however short its events are.
"""


class MalformedAnswer(Exception):  # noqa: N818
    """The bytes are not of the declared format, or too many events: nothing that follows can be read."""


class Allowance:
    """A token bucket for events or lines: so many at once, refilled by the bytes and the pieces of the answer."""

    __slots__ = ("_bytes_each", "_capacity", "_left", "_piece", "taken")

    def __init__(self, burst: int, bytes_each: int, each_piece: int = 0) -> None:
        """``burst``: how many may come at once. ``bytes_each``: the bytes that pay for one more. ``each_piece``: for
        how many each piece pays beside its bytes.
        """
        self._bytes_each = bytes_each
        self._piece = each_piece * bytes_each
        self._left = self._capacity = burst * bytes_each
        self.taken = 0
        """How many have come."""

    def take(self, size: int, count: int) -> None:
        """A piece of ``size`` bytes has ``count``. Raises ``MalformedAnswer`` where that is too many."""
        self.taken += count
        self._left = min(self._capacity, self._left + size + self._piece) - count * self._bytes_each
        if self._left < 0:
            raise MalformedAnswer("too many events or lines")


class Decoder(Protocol):
    """Bytes in, events out, however the bytes are split. Holds about ``MAX_WHOLE`` bytes at most."""

    def feed(self, data: bytes) -> Sequence[Event]:
        """The events that ``data`` completes. Raises ``MalformedAnswer``."""

    def end(self) -> Sequence[Event]:
        """The answer has ended: the event that was not finished, if it can be read. Raises ``MalformedAnswer``."""

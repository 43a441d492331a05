"""What every decoder of a streamed answer gives and takes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, TypeAlias

Event: TypeAlias = tuple[str, bytes, bool]
"""(kind as the wire names it, or empty; data; whether that is all of it and not only its end)."""

ERROR = ":error"
"""The kind of an event with which the wire itself says that the answer has failed."""

BARE = ":bare"
"""The kind of a piece that is output as it stands."""


EVENTS, LINES = 1000, 2000
"""Of one piece of an answer: no model writes as many at once, and reading them would hold up others."""
EACH_EVENT, EACH_LINE = 8, 4
"""Bytes for which an answer may have one more, over all its pieces."""


class Broken(Exception):  # noqa: N818
    """These bytes are not what they claim to be: nothing that follows can be read."""


class Allowance:
    """How many things of a kind an answer may bring: so many at once, and another for every few of its bytes."""

    __slots__ = ("_each", "_left", "_most")

    def __init__(self, most: int, each: int) -> None:
        """``each``: the bytes for which there may be one more."""
        self._each = each
        self._left = self._most = most * each

    def take(self, size: int, count: int) -> None:
        """A piece of ``size`` bytes brings ``count``. Raises ``Broken`` where that is too many."""
        self._left = min(self._most, self._left + size) - count * self._each
        if self._left < 0:
            raise Broken("a flood")


class Decoder(Protocol):
    """Bytes in, events out, however the bytes are split. Keeps no more than ``clip.LIMIT`` bytes, or a little."""

    def feed(self, data: bytes) -> Sequence[Event]:
        """The events that ``data`` completes. Raises ``Broken``."""

    def end(self) -> Sequence[Event]:
        """There is no more: what stands there unfinished, as far as it can count. Raises ``Broken``."""

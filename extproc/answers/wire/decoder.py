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


EVENTS, LINES = 500, 2000
"""Of one piece of an answer: no model writes as many at once, and reading them would hold up others."""


class Broken(Exception):  # noqa: N818
    """These bytes are not what they claim to be: nothing that follows can be read."""


class Decoder(Protocol):
    """Bytes in, events out, however the bytes are split. Keeps no more than ``clip.LIMIT`` bytes, or a little."""

    def feed(self, data: bytes) -> Sequence[Event]:
        """The events that ``data`` completes. Raises ``Broken``."""

    def end(self) -> Sequence[Event]:
        """There is no more: what stands there unfinished, as far as it can count. Raises ``Broken``."""

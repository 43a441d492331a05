"""What a client asks of a model: the typed result of reading a request. Floor 1: may import floor 0."""

from __future__ import annotations

from collections.abc import Callable

import msgspec


class Asked(msgspec.Struct, frozen=True):
    """One inference request, whatever API it came by."""

    api: str
    """Family of the API, a label value: ``openai``, ``oip``."""
    operation: str
    """What of that API: ``chat.completions``, ``infer``."""
    model: str
    """As the client names it."""
    version: str | None = None
    """Where the API lets a client name one (a path segment in OIP)."""
    stream: bool = False
    """The client wants the answer piece by piece."""


class Operation(msgspec.Struct, frozen=True):
    """What method, path and headers alone tell of a request."""

    api: str
    name: str
    model: str | None = None
    """None: only the body tells, and ``read`` reads it."""
    version: str | None = None
    read: Callable[[bytes], BodyFields] | None = None
    """Reads the complete body. Raises ``Unreadable``, or ``Rejected`` where two readers would read it differently."""


class BodyFields(msgspec.Struct, frozen=True):
    """What the body of a request tells."""

    model: str
    stream: bool = False

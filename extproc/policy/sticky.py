"""Where a policy's sticky key is."""

from __future__ import annotations

import msgspec


class Sticky(msgspec.Struct, frozen=True):
    """Where a request has the key that keeps a user on one version. Exactly one field is set."""

    header: str = ""
    cookie: str = ""
    body: tuple[str, ...] = ()
    """Tokens of a JSON Pointer (RFC 6901)."""

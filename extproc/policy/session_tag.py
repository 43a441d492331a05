"""Tags of servers: what Envoy appends to the ids of sessions, by which any processor knows the server that has them.

A tag is a hash of the names of policy, version, pool and endpoint. Whoever has the same policy file knows the same
tags, so none is kept anywhere, and it tells a client nothing. A forged one leads to a server that answers anyway, and
that does not know the session.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Iterable
from functools import lru_cache
from typing import NamedTuple

from extproc.policy.rendezvous import RendezvousHash
from extproc.policy.target import Target

SEPARATOR = "~"
"""Stands before the tag. Ids of MCP sessions are visible ASCII, in URLs it is unreserved (RFC 3986 §2.3)."""
TAG = "[a-z2-7]{16}"
"""Regular expression of a tag: 80 bits in the letters of base32 (RFC 4648 §6), in lower case."""
_TAG_BYTES = 10
_AT_END = re.compile(rf"{SEPARATOR}({TAG})\Z")
_IN_PATH = re.compile(rf"{SEPARATOR}({TAG})(?=[/?&]|\Z)")


class Place(NamedTuple):
    """Where a session is."""

    target: Target
    endpoint: str
    """``host:port``; empty where the target has only one, or a proxy can't be told which (``Target.addresses``)."""


def session_tag(target: Target, endpoint: str) -> str:
    """The tag of one server of a target."""
    names = (target.policy, target.version, target.pool, endpoint)
    digest = hashlib.blake2b(b"\0".join(map(str.encode, names)), digest_size=_TAG_BYTES).digest()
    return base64.b32encode(digest).decode().lower()


def places(targets: Iterable[Target]) -> dict[str, Place]:
    """The servers of all targets by their tags."""
    return {
        session_tag(target, endpoint): Place(target, endpoint if endpoint in target.addresses else "")
        for target in targets
        for endpoint in target.endpoints
    }


def server_of(target: Target, key: bytes) -> str:
    """The server (``host:port``) that keeps what requests with this sticky key make; empty where none can be told."""
    return _servers(target.cluster, target.addresses).choose(key) or ""


@lru_cache(maxsize=1024)
def _servers(cluster: str, addresses: tuple[str, ...]) -> RendezvousHash[str]:
    return RendezvousHash(f"{cluster}\0endpoint", [(address, 1, address) for address in addresses])


def tag_at_end(session: str) -> str:
    """The tag of a session's id; empty where it has none."""
    found = _AT_END.search(session)
    return found[1] if found else ""


def split_path(path: str) -> tuple[str, str]:
    """A path or a query without the first tag in it, and the tag; empty where there is none."""
    found = _IN_PATH.search(path) if SEPARATOR in path else None
    return (path[: found.start()] + path[found.end() :], found[1]) if found else (path, "")

"""Tags of servers: what Envoy appends to the ids of sessions, by which any processor knows the server that has them.

A tag is a keyed hash of the kind of session and of the names of policy, version, pool and endpoint. Whoever has the key
and the same policy file knows the same tags, so none is kept anywhere. It tells a client nothing, and without the key
nobody can make one: a client can only go where a session of its own, or of somebody who told it, has been.
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
MCP, CALL = "mcp", "call"
"""Kinds of sessions: those of MCP, and Realtime calls. A tag of one kind is none of the other."""
_TAG_BYTES = 10
_TAGS = rf"((?:{SEPARATOR}{TAG})+)"
_SESSION = re.compile(rf".+?{_TAGS}", re.DOTALL)
_CALL = re.compile(rf"((?:/realtime/calls/|[?&]call_id=)[\w-][\w.~-]*?){_TAGS}(?=[/?&]|\Z)", re.ASCII)
"""What begins with a dot is no id of a call: what is left of it must be no ``.`` or ``..`` (RFC 3986 §5.2.4)."""


class Place(NamedTuple):
    """Where a session is."""

    target: Target
    endpoint: str
    """``host:port``; empty where the target has only one, or a proxy can't be told which (``Target.addresses``)."""


def session_tag(key: bytes, kind: str, target: Target, endpoint: str) -> str:
    """The tag of one server of a target: BLAKE2b with a key (RFC 7693), of at most 64 bytes."""
    names = (kind, target.policy, target.version, target.pool, endpoint)
    digest = hashlib.blake2b(b"\0".join(map(str.encode, names)), digest_size=_TAG_BYTES, key=key).digest()
    return base64.b32encode(digest).decode().lower()


def places(keys: Iterable[bytes], targets: Iterable[Target]) -> dict[tuple[str, str], Place]:
    """The servers of all targets by kinds of sessions and their tags, with each of the keys."""
    servers = [(target, endpoint) for target in targets for endpoint in target.endpoints]
    return {
        (kind, session_tag(key, kind, *server)): _place(*server)
        for key in keys
        for kind in (MCP, CALL)
        for server in servers
    }


def _place(target: Target, endpoint: str) -> Place:
    return Place(target, endpoint if endpoint in target.addresses else "")


def server_of(target: Target, key: bytes) -> str:
    """The server (``host:port``) that keeps what requests with this sticky key make; empty where none can be told."""
    return _servers(target.cluster, target.addresses).choose(key) or ""


@lru_cache(maxsize=1024)
def _servers(cluster: str, addresses: tuple[str, ...]) -> RendezvousHash[str]:
    return RendezvousHash(f"{cluster}\0endpoint", [(address, 1, address) for address in addresses])


def tag_at_end(session: str) -> str:
    """The tag of a session's id; empty where it has none, or several."""
    found = _SESSION.fullmatch(session)
    return _only(found[1]) if found else ""


def split_path(path: str) -> tuple[str, str]:
    """The target of a request for a Realtime call, without tags behind the call's id; and the tag.

    The tag is empty where there is none, or several. Something is left of each id.
    """
    if SEPARATOR not in path:
        return path, ""
    return _CALL.sub(r"\1", path), _only("".join(found[2] for found in _CALL.finditer(path)))


def _only(tags: str) -> str:
    """The tag in ``~tag``; empty where there are several."""
    return tags[1:] if tags.count(SEPARATOR) == 1 else ""

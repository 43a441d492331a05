"""Where a page is: a URL in its parts, or a unix socket."""

from __future__ import annotations

import re
from typing import NamedTuple
from urllib.parse import urlsplit

_PORTS = {"http": 80, "https": 443}
_VISIBLE = re.compile(r"[!-~]+")
_HOST = re.compile(r"[A-Za-z0-9._-]{1,253}|[0-9A-Fa-f]*:[0-9A-Fa-f:.]+")
"""A name or an IPv4 address; or an IPv6 address, whose brackets ``urlsplit`` has held and taken off."""


class Url(NamedTuple):
    """Where a page is."""

    host: str
    """A name, an IP address, or the path of a unix socket."""
    port: int
    """0: a unix socket."""
    target: str = "/"
    """Path and query, as they stand in the request."""
    tls: bool = False
    authority: str = "localhost"
    """The ``host`` header."""


def parse(text: str) -> Url:
    """The page at ``http://…`` or ``https://…``; a fragment is left out. Raises ``ValueError`` where it is no such URL,
    or one that no request can have: with a user, or with what is no visible ASCII.
    """
    if not _VISIBLE.fullmatch(text):
        raise ValueError("it has characters that must be percent-encoded")
    parts = urlsplit(text)
    if parts.scheme not in _PORTS:
        raise ValueError("it does not begin with http:// or https://")
    host, port = parts.hostname or "", parts.port
    if not _HOST.fullmatch(host) or "" in host.removesuffix(".").split(".") or port == 0:
        raise ValueError("it has no host, or port, that there can be")
    if "@" in parts.netloc:
        raise ValueError("it names a user")
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return Url(host, port or _PORTS[parts.scheme], target, parts.scheme == "https", parts.netloc)

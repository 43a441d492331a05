"""The key that keeps a user on one version: a header, a cookie, or a member of the body."""

from __future__ import annotations

from extproc.headers import Headers
from extproc.policy.snapshot import Policy


def sticky_key(policy: Policy, headers: Headers, body_key: str | None) -> bytes | None:
    """The key that keeps a user on one version; None where the policy is not sticky or the request has no key."""
    sticky = policy.sticky
    if sticky is None:
        return None
    if header := sticky.header:
        return headers.get(header) or None
    if sticky.cookie:
        return cookie(headers, sticky.cookie) or None
    return body_key.encode() if body_key else None


def cookie(headers: Headers, name: str) -> bytes | None:
    """The value of the first cookie ``name`` (RFC 6265 §4.2), without surrounding quotes, or None."""
    wanted = name.encode()
    for line in headers.all("cookie"):
        for part in line.split(b";"):
            key, found, value = part.partition(b"=")
            if found and key.strip() == wanted:
                value = value.strip()
                quoted = len(value) > 1 and value[:1] == value[-1:] == b'"'
                return value[1:-1] if quoted else value
    return None

"""Names of Services in Kubernetes for what policies name."""

from __future__ import annotations

import hashlib
import re

MAX_LENGTH = 63
_LABEL = re.compile(r"[a-z]([-a-z0-9]{0,61}[a-z0-9])?")


def label(*parts: str) -> str:
    """One name of several parts for an object of Kubernetes (RFC 1035): ``chat-v1``.

    What can't be in such a name becomes ``-``, and what is too long is cut; a hash of the parts then keeps two names
    apart that would be one.
    """
    name = "-".join(part for part in parts if part)
    if _LABEL.fullmatch(name):
        return name
    digest = hashlib.blake2b(name.encode(), digest_size=4).hexdigest()
    plain = re.sub(r"[^a-z0-9-]+", "-", name.lower()).strip("-")
    plain = plain if plain[:1].isalpha() else f"s-{plain}"
    return f"{plain[: MAX_LENGTH - len(digest) - 1].rstrip('-')}-{digest}"

"""Names of Kubernetes Services for versions and GPU pools of policies."""

from __future__ import annotations

import hashlib
import re

MAX_LENGTH = 63
"""Characters of a label."""
_LABEL = re.compile(r"[a-z]([-a-z0-9]{0,61}[a-z0-9])?")


def label(*parts: str) -> str:
    """The non-empty parts joined by dashes, as a DNS label (RFC 1035), which Services need: ``chat-v1``.

    Where that is no label, other characters become dashes, the name is cut, and a hash of it is appended, so that
    different parts give different names.
    """
    name = "-".join(part for part in parts if part)
    if _LABEL.fullmatch(name):
        return name
    digest = hashlib.blake2b(name.encode(), digest_size=4).hexdigest()
    plain = re.sub(r"[^a-z0-9-]+", "-", name.lower()).strip("-")
    plain = plain if plain[:1].isalpha() else f"s-{plain}"
    return f"{plain[: MAX_LENGTH - len(digest) - 1].rstrip('-')}-{digest}"

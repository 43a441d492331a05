"""What becomes of a request from which no model can be read (``onUnreadable``), or that is of no API (``NO_API``)."""

from __future__ import annotations

from extproc.errors import Rejected
from extproc.policy.snapshot import Snapshot

NO_API = "no_api"
"""The reason of a request whose method and path belong to no inference API that we know."""
UNKNOWN_PATH = "unknown_path"
"""The code with which such a request is refused."""


def is_owned(snapshot: Snapshot) -> bool:
    """Whether such a request is a policy's all the same: of one that owns every model and has its servers picked. Who
    asks for servers needs one for each request.
    """
    match = snapshot.match("")
    return match is not None and match.policy.picking is not None


def refusal(snapshot: Snapshot, reason: str) -> Rejected | None:
    """The refusal of such a request; None where it passes on unrouted. ``reason``: ``NO_API``, or ``Unreadable``'s.

    Without a model no policy owns the request, so it is refused (400) if any policy of the snapshot says
    ``onUnreadable: reject``. One of no API is refused (404) if any server gets a key of ours (``credentials``): with it
    a client could call whatever else the key is for, an administration's paths too.
    """
    if reason == NO_API:
        message = "method and path belong to no inference API that is known here"
        return Rejected(404, UNKNOWN_PATH, message) if snapshot.has_keys else None
    if any(policy.reject_unreadable for policy in snapshot.policies):
        return Rejected(400, reason, f"no model can be read from the request ({reason})")
    return None

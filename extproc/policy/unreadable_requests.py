"""Whether an inference request whose model can't be read passes on (``onUnreadable``)."""

from __future__ import annotations

from extproc.errors import Rejected
from extproc.policy.snapshot import Snapshot


def refusal(snapshot: Snapshot, reason: str) -> Rejected | None:
    """The refusal (400) of such a request; None where it passes on unrouted. ``reason``: that of ``Unreadable``.

    Without a model no policy owns the request, so it is refused if any policy of the snapshot says
    ``onUnreadable: reject``.
    """
    if any(policy.reject_unreadable for policy in snapshot.policies):
        return Rejected(400, reason, f"no model can be read from the request ({reason})")
    return None

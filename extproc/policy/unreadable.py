"""Inference requests whose model can't be read: whether they pass on."""

from __future__ import annotations

from extproc.errors import Rejected
from extproc.policy.snapshot import Snapshot


def refusal(snapshot: Snapshot, reason: str) -> Rejected | None:
    """The refusal (400) of such a request; None where it passes on unrouted. ``reason``: as ``Unreadable`` has it.

    Whose the request would be is not known, and whose servers would get it is Envoy's to know: one policy of the view
    with ``onUnreadable: reject`` suffices.
    """
    if any(policy.reject_unreadable for policy in snapshot.policies):
        return Rejected(400, reason, f"no model can be read from the request ({reason})")
    return None

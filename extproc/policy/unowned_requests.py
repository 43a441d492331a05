"""Whether a request for a model that no policy owns passes on (``onUnowned``)."""

from __future__ import annotations

from extproc.errors import Rejected
from extproc.policy.snapshot import Snapshot

CODE = "model_not_found"
"""As OpenAI's API calls it."""


def refusal(snapshot: Snapshot, model: str) -> Rejected | None:
    """The refusal (404) of such a request; None where it passes on unrouted. ``model``: empty where it names none.

    No policy owns the request, so it is refused if any policy of the snapshot says ``onUnowned: reject``. What names
    no model passes on: the API has none, or not in this call.
    """
    if model and any(policy.reject_unowned for policy in snapshot.policies):
        return Rejected(404, CODE, f"the model {model!r} is not served here")
    return None

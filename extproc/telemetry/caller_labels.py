"""Names of callers as labels of metrics: as many as a bound allows, in characters that every reader takes."""

from __future__ import annotations

from extproc.headers import safe_value
from extproc.policy.snapshot import OTHER

MAX_CALLERS = 100
"""Callers that have a label of their own, in each process."""
UNKNOWN_CALLER = "unknown"
"""Label of requests whose callers nobody has verified."""


class CallerLabels:
    """The labels of one process: the first ``MAX_CALLERS`` callers by name, later ones as ``OTHER``."""

    def __init__(self) -> None:
        self._labels = {"": UNKNOWN_CALLER}

    def label(self, caller: str) -> str:
        """The label of requests by ``caller``, a verified identity; empty: there is none."""
        found = self._labels.get(caller)
        if found is None:
            if len(self._labels) > MAX_CALLERS:
                return OTHER
            found = self._labels[caller] = safe_value(caller)
        return found

"""By which renderings requests come, and in what those differ from the policies in force.

A filter that `extproc render istio` made tells with each stream what it was rendered from. To read that takes longer
than the rest of a small request's metadata, so at most ten streams a second are looked at: every proxy's in a while.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import Any

from extproc.policy.snapshot import Snapshot
from extproc.render.istio.provenance import METADATA, ROUTES, SELECTORS, Difference, differences

log = logging.getLogger(__name__)

INTERVAL = 0.1
"""Seconds between two looks."""
FORGOTTEN = 300.0
"""Seconds after which a rendering that was not seen again is gone."""
QUIET = 60.0
"""Seconds between two lines of the log, at least: whoever reaches the port may say anything."""
MOST, LONGEST = 16, 4096
"""Renderings remembered, and characters of what one says."""
_TOLD = (*ROUTES, SELECTORS)
"""Parts that filters name."""


class Renderings:
    """Those seen of late. ``now``: seconds of a clock that only goes forward, here and below."""

    def __init__(self) -> None:
        self.due = 0.0
        """When to look at a stream's metadata again."""
        self._snapshot: Snapshot | None = None
        self._seen: dict[str, float] = {}
        self._quiet_until = 0.0

    def follow(self, snapshot: Snapshot, now: float) -> None:
        """These policies are in force from now on."""
        self._snapshot = snapshot
        for text in self._recent(now):
            self._tell(text, now)

    def note(self, metadata: Iterable[tuple[str, str | bytes]], now: float) -> None:
        """With this a stream was opened."""
        self.due = now + INTERVAL
        text = next((value for name, value in metadata if name == METADATA), None)
        if not isinstance(text, str) or len(text) > LONGEST:
            return
        known = text in self._seen
        if not known and len(self._seen) >= MOST:
            del self._seen[min(self._seen, key=self._seen.__getitem__)]
        self._seen[text] = now
        if not known:
            self._tell(text, now)

    def differing(self, now: float) -> dict[str, int]:
        """For each part whether some rendering differs in it: 1, or 0. Nothing where no rendering told of itself."""
        recent = self._recent(now)
        found = {difference.part for text in recent for difference in self._differences(text)}
        return {part: int(part in found) for part in _TOLD} if recent else {}

    def describe(self, now: float) -> list[dict[str, Any]]:
        """For people: when each was last seen, and how it differs."""
        return [
            {"seen": round(now - seen, 1), "differs": [_described(each) for each in self._differences(text)]}
            for text, seen in self._recent(now).items()
        ]

    def _recent(self, now: float) -> dict[str, float]:
        return {text: seen for text, seen in self._seen.copy().items() if now - seen < FORGOTTEN}

    def _differences(self, text: str) -> list[Difference]:
        return [] if self._snapshot is None else differences(text, self._snapshot)

    def _tell(self, text: str, now: float) -> None:
        found = self._differences(text)
        if found and now >= self._quiet_until:
            self._quiet_until = now + QUIET
            log.warning("requests come by a rendering of other policies: %s; %s", ", ".join(map(str, found)), _REMEDY)


_REMEDY = "apply what `extproc render istio` makes of the policies now"


def _described(difference: Difference) -> dict[str, Any]:
    return {"part": difference.part, "missing": list(difference.missing), "surplus": list(difference.surplus)}

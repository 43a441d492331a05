"""Drift: proxies whose configuration was rendered from other policies than those in force.

A filter of `extproc render istio` has in the metadata of each stream what it was rendered from
(``render.istio.provenance``). At most ten streams a second are examined, since that takes longer than reading a small
request.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from extproc.policy.snapshot import Snapshot
from extproc.render.istio.provenance import METADATA, ROUTES, SELECTORS, Difference, differences

if TYPE_CHECKING:
    from prometheus_client.metrics_core import Metric

log = logging.getLogger(__name__)

CHECK_INTERVAL = 0.1
"""Seconds between two examined streams."""
MAX_AGE = 300.0
"""Seconds after which a rendering that was not seen again is forgotten."""
LOG_INTERVAL = 60.0
"""Least seconds between two lines in the log: the metadata may be anyone's who reaches the port."""
MAX_RENDERINGS = 16
"""Renderings that are kept."""
MAX_LENGTH = 4096
"""Characters of a rendering's metadata; longer ones are ignored."""
_PARTS = (*ROUTES, SELECTORS)
"""Parts of a rendering that filters name."""


class SeenRenderings:
    """Renderings that were seen lately. ``now``: seconds of a monotonic clock, here and below."""

    def __init__(self) -> None:
        self.next_check = 0.0
        """When to examine a stream again."""
        self._snapshot: Snapshot | None = None
        self._last_seen: dict[str, float] = {}
        self._next_log = 0.0

    def set_snapshot(self, snapshot: Snapshot, now: float) -> None:
        """The policies in force from now on."""
        self._snapshot = snapshot
        for text in self._recent(now):
            self._log_differences(text, now)

    def note(self, metadata: Iterable[tuple[str, str | bytes]], now: float) -> None:
        """Examines the metadata of a stream."""
        self.next_check = now + CHECK_INTERVAL
        text: str | bytes | None = None
        for name, value in metadata:
            if name == METADATA:
                text = value
                break
        if not isinstance(text, str) or len(text) > MAX_LENGTH:
            return
        known = text in self._last_seen
        if not known and len(self._last_seen) >= MAX_RENDERINGS:
            del self._last_seen[min(self._last_seen, key=self._last_seen.__getitem__)]
        self._last_seen[text] = now
        if not known:
            self._log_differences(text, now)

    def differing(self, now: float) -> dict[str, int]:
        """For each part 1 if a rendering differs in it, else 0. Empty where no rendering was seen."""
        recent = self._recent(now)
        found = {difference.part for text in recent for difference in self._differences(text)}
        return {part: int(part in found) for part in _PARTS} if recent else {}

    def describe(self, now: float) -> list[dict[str, Any]]:
        """For people: seconds since each rendering was seen, and its differences."""
        return [
            {"seen": round(now - seen, 1), "differs": [_described(each) for each in self._differences(text)]}
            for text, seen in self._recent(now).items()
        ]

    def _recent(self, now: float) -> dict[str, float]:
        return {text: seen for text, seen in self._last_seen.copy().items() if now - seen < MAX_AGE}

    def _differences(self, text: str) -> list[Difference]:
        return [] if self._snapshot is None else differences(text, self._snapshot)

    def _log_differences(self, text: str, now: float) -> None:
        found = self._differences(text)
        if found and now >= self._next_log:
            self._next_log = now + LOG_INTERVAL
            log.warning("requests come by a rendering of other policies: %s; %s", ", ".join(map(str, found)), _REMEDY)


def collect(differing: Mapping[str, int]) -> Iterator[Metric]:
    """The gauge of what ``SeenRenderings.differing`` tells, of one or more processes."""
    from prometheus_client.core import GaugeMetricFamily

    rendering = GaugeMetricFamily(
        "extproc_rendering_differs",
        "1 where requests come by a rendering of other policies than those in force, by the part that differs.",
        labels=("part",),
    )
    for part, differs in differing.items():
        rendering.add_metric((part,), differs)
    yield rendering


_REMEDY = "apply what `extproc render istio` makes of the policies now"


def _described(difference: Difference) -> dict[str, Any]:
    return {"part": difference.part, "missing": list(difference.missing), "surplus": list(difference.surplus)}

"""The last minutes: who asked for what and how it went, in slices of time.

Prometheus keeps history; this is for whoever looks right now, and needs no second look: a slice knows what happened in
it, so nothing has to be subtracted and no restart confuses it. Bounded whatever comes: so many slices, so many rows.
"""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Mapping
from itertools import takewhile
from typing import TypeAlias, TypeVar

import msgspec

from extproc.envoy.actions import Observed
from extproc.policy.snapshot import OTHER
from extproc.telemetry.golden import Counts

STEP = 5
"""Seconds of a slice. Slices begin at whole multiples of it, so those of several processes match."""
KEPT = 60
"""Slices."""
LONGEST = STEP * KEPT
"""Seconds that are remembered."""
ROWS = 256
"""Of one slice: callers beyond that are ``other`` in it."""
UNKNOWN = "unknown"
"""The caller where the mesh names none."""

Key: TypeAlias = tuple[str, str, str, str]
"""Caller, model, version, GPU pool. All but the caller are texts of the policy's."""

Group = TypeVar("Group")


class Slice(msgspec.Struct):
    """What ended within ``STEP`` seconds; ``number`` times ``STEP`` is the Unix time when they began."""

    number: int
    rows: list[tuple[Key, Counts]]


class Window(msgspec.Struct, frozen=True):
    """What ended within the last ``seconds``."""

    seconds: float
    rows: Mapping[Key, Counts]


class Report(msgspec.Struct, frozen=True):
    """All that a process remembers. Times are Unix time."""

    now: float
    started: float
    slices: list[Slice]
    """In ascending order; where nothing happened there is none."""

    def window(self, seconds: float, end: int | None = None) -> Window:
        """The last so many seconds, in whole slices with the one that is not over yet; or those up to slice ``end``."""
        last = int(self.now // STEP) if end is None else end
        if end is None and self.slices:
            last = max(last, self.slices[-1].number)  # the clock was set back
        first = last - max(1, round(seconds / STEP)) + 1
        until = self.now if end is None else min(self.now, (end + 1) * STEP)
        rows: dict[Key, Counts] = {}
        for one in self.slices:
            if first <= one.number <= last:
                add(rows, one.rows)
        return Window(max(1.0, until - max(self.started, first * STEP)), rows)


def add(rows: dict[Key, Counts], more: Iterable[tuple[Key, Counts]]) -> None:
    """Adds ``more`` to ``rows``. Raises ``ValueError`` where buckets differ."""
    for key, counts in more:
        if key not in rows:
            rows[key] = Counts()
        rows[key].add(counts)


def grouped(rows: Mapping[Key, Counts], by: Callable[[Key], Group]) -> dict[Group, Counts]:
    """The sums of rows for which ``by`` gives the same. Raises ``ValueError`` where buckets differ."""
    found: dict[Group, Counts] = {}
    for key, counts in rows.items():
        found.setdefault(by(key), Counts()).add(counts)
    return found


def edges(rows: Mapping[Key, Counts], callers: int) -> dict[Key, Counts]:
    """``rows`` with so many callers, those who ask most; the others are ``other``, whose row comes last."""
    asked = Counter({OTHER: 0})
    for key, counts in rows.items():
        asked[key[0]] += counts.requests
    asked.pop(OTHER)
    most = [caller for caller, _ in asked.most_common(callers)]
    rank = {caller: at for at, caller in enumerate(most)}
    found = grouped(rows, lambda key: key if key[0] in rank else (OTHER, *key[1:]))
    return dict(sorted(found.items(), key=lambda row: (rank.get(row[0][0], callers), -row[1].requests, row[0])))


def together(reports: Iterable[Report]) -> Report:
    """Of processes on one machine, as if they were one. Raises ``ValueError`` where their buckets differ."""
    every = list(reports)
    if not every:
        now = time.time()
        return Report(now, now, [])
    slices: dict[int, dict[Key, Counts]] = {}
    for report in every:
        for one in report.slices:
            add(slices.setdefault(one.number, {}), one.rows)
    merged = [Slice(number, list(rows.items())) for number, rows in sorted(slices.items())]
    return Report(max(r.now for r in every), min(r.started for r in every), merged)


class Recent:
    """Remembers. Written by the engine's thread; may be read by another."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._started = clock()
        self._slices: deque[tuple[int, dict[Key, Counts]]] = deque(maxlen=KEPT)

    def note(self, observed: Observed) -> None:
        """Counts a finished exchange."""
        number = int(self._clock() // STEP)
        # A clock that is set back makes the newest slice longer, never the order wrong.
        if not self._slices or number > self._slices[-1][0]:
            self._slices.append((number, {}))
        rows = self._slices[-1][1]
        key = (observed.caller or UNKNOWN, observed.model, observed.version, observed.gpu_pool)
        counts = rows.get(key)
        if counts is None:
            if len(rows) >= ROWS:
                key = (OTHER, *key[1:])
            counts = rows.setdefault(key, Counts())
        counts.note(observed)

    def report(self) -> Report:
        """What is remembered now."""
        now = self._clock()
        oldest = int(now // STEP) - KEPT
        fresh = takewhile(lambda one: one[0] > oldest, reversed(self._slices.copy()))
        slices = [Slice(number, list(rows.items())) for number, rows in fresh]
        return Report(now, self._started, slices[::-1])

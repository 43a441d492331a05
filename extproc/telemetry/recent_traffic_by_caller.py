"""Requests of the last minutes by caller, model, version and GPU pool, counted in slices of time.

For ``extproc stat``, ``extproc edges`` and the admin page, without Prometheus. Each slice has counts of its own, so a
window is a sum of slices. The number of slices and of rows in a slice is bounded.
"""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Mapping
from itertools import takewhile
from math import ceil
from typing import TypeAlias, TypeVar

import msgspec

from extproc.exchange.notes import Observed, RequestAccount
from extproc.policy.snapshot import OTHER
from extproc.telemetry.golden_metrics import Counts

SLICE_SECONDS = 5
"""Length of a slice. Slices begin at multiples of it, so those of several processes are the same."""
MAX_SLICES = 60
"""Slices that are kept."""
MAX_WINDOW = SLICE_SECONDS * MAX_SLICES
"""Seconds that are kept."""
MAX_ROWS = 256
"""Rows of a slice; when it is full, further callers are counted as ``other``."""
UNKNOWN_CALLER = "unknown"
"""Caller of requests for which the mesh names none."""

RowKey: TypeAlias = tuple[str, str, str, str]
"""Caller, model, version, GPU pool. All but the caller are texts of the policy."""

Group = TypeVar("Group")


class TimeSlice(msgspec.Struct):
    """Exchanges that ended in one slice; it began at the Unix time ``number * SLICE_SECONDS``."""

    number: int
    rows: list[tuple[RowKey, Counts]]


class TrafficWindow(msgspec.Struct, frozen=True):
    """Exchanges that ended within some ``seconds``."""

    seconds: float
    rows: Mapping[RowKey, Counts]


class TrafficReport(msgspec.Struct, frozen=True):
    """Everything that a process has kept. Times are Unix times."""

    now: float
    started: float
    slices: list[TimeSlice]
    """Ascending; times without traffic have none."""

    def window(self, seconds: float, end: int | None = None) -> TrafficWindow:
        """The last ``seconds`` in whole slices, and the unfinished one, since it may just have begun; with ``end``,
        those up to that slice.
        """
        last = int(self.now // SLICE_SECONDS) if end is None else end
        if end is None and self.slices:
            last = max(last, self.slices[-1].number)  # the clock may have been set back
        slices = max(1, round(seconds / SLICE_SECONDS)) if end is not None else ceil(seconds / SLICE_SECONDS) + 1
        first = last - min(slices, MAX_SLICES) + 1
        until = self.now if end is None else min(self.now, (end + 1) * SLICE_SECONDS)
        rows: dict[RowKey, Counts] = {}
        for one in self.slices:
            if first <= one.number <= last:
                add_rows(rows, one.rows)
        return TrafficWindow(max(1.0, until - max(self.started, first * SLICE_SECONDS)), rows)


def add_rows(rows: dict[RowKey, Counts], more: Iterable[tuple[RowKey, Counts]]) -> None:
    """Adds ``more`` to ``rows``. Raises ``ValueError`` where their buckets differ."""
    for key, counts in more:
        if key not in rows:
            rows[key] = Counts()
        rows[key].add(counts)


def group_rows(rows: Mapping[RowKey, Counts], by: Callable[[RowKey], Group]) -> dict[Group, Counts]:
    """The rows summed by the value of ``by``. Raises ``ValueError`` where their buckets differ."""
    found: dict[Group, Counts] = {}
    for key, counts in rows.items():
        found.setdefault(by(key), Counts()).add(counts)
    return found


def limit_callers(rows: Mapping[RowKey, Counts], callers: int) -> dict[RowKey, Counts]:
    """``rows`` of the ``callers`` callers with most requests, in that order, then all others summed as ``other``."""
    requests = Counter({OTHER: 0})
    for key, counts in rows.items():
        requests[key[0]] += counts.requests
    requests.pop(OTHER)
    rank = {caller: i for i, (caller, _) in enumerate(requests.most_common(callers))}
    found = group_rows(rows, lambda key: key if key[0] in rank else (OTHER, *key[1:]))
    return dict(sorted(found.items(), key=lambda row: (rank.get(row[0][0], callers), -row[1].requests, row[0])))


def merge_reports(reports: Iterable[TrafficReport]) -> TrafficReport:
    """The reports of several processes on one machine as one. Raises ``ValueError`` where their buckets differ."""
    merged = list(reports)
    if not merged:
        now = time.time()
        return TrafficReport(now, now, [])
    slices: dict[int, dict[RowKey, Counts]] = {}
    for report in merged:
        for one in report.slices:
            add_rows(slices.setdefault(one.number, {}), one.rows)
    summed = [TimeSlice(number, list(rows.items())) for number, rows in sorted(slices.items())]
    return TrafficReport(max(r.now for r in merged), min(r.started for r in merged), summed)


class RecentTraffic:
    """Counts a process's requests. Written by the event loop's thread; any thread may read."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._started = clock()
        self._slices: deque[tuple[int, dict[RowKey, Counts]]] = deque(maxlen=MAX_SLICES)

    def note(self, observed: Observed) -> None:
        """Counts a finished exchange; of an accounted one what the account does not have."""
        self._counts(observed).note(observed)

    def account(self, account: RequestAccount) -> None:
        """Counts a request by Envoy's account of it."""
        self._counts(account).account(account)

    def _counts(self, observed: Observed | RequestAccount) -> Counts:
        number = int(self._clock() // SLICE_SECONDS)
        # After the clock was set back, requests go into the newest slice, so that slices stay in order.
        if not self._slices or number > self._slices[-1][0]:
            self._slices.append((number, {}))
        rows = self._slices[-1][1]
        key = (observed.caller or UNKNOWN_CALLER, observed.model, observed.version, observed.gpu_pool)
        counts = rows.get(key)
        if counts is None:
            if len(rows) >= MAX_ROWS:
                key = (OTHER, *key[1:])
            counts = rows.setdefault(key, Counts())
        return counts

    def report(self) -> TrafficReport:
        """The slices that are kept now."""
        now = self._clock()
        oldest = int(now // SLICE_SECONDS) - MAX_SLICES
        fresh = takewhile(lambda one: one[0] > oldest, reversed(self._slices.copy()))
        slices = [TimeSlice(number, list(rows.items())) for number, rows in fresh]
        return TrafficReport(now, self._started, slices[::-1])

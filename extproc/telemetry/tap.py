"""Taps: streams of JSON records of exchanges as they end (``extproc tap``).

They are made of what was observed; where nobody observed the answer, or it was broken off, of Envoy's account, too.

The request path never waits for a tap: one that reads too slowly loses records, and gets a line with their number.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from queue import Empty, Full, Queue
from threading import Lock
from typing import Any

import msgspec

from extproc.exchange.notes import Observed, RequestAccount
from extproc.telemetry.awaited_accounts import AwaitedAccounts, Ended
from extproc.telemetry.caller_labels import UNKNOWN_CALLER
from extproc.telemetry.golden_metrics import is_failure

MAX_QUEUED = 1000
"""Records that wait for a tap."""
HEARTBEAT_INTERVAL = 2.0
"""Seconds without a record after which an empty line is sent, which finds closed connections."""


class TapFilter(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which exchanges a tap gets; texts are globs, empty: any."""

    model: str = ""
    """Of the policy's pattern, or of the model as the client names it."""
    version: str = ""
    pool: str = ""
    code: str = ""
    """A status or class of statuses: ``503``, ``5xx``."""
    caller: str = ""
    min_ms: float = 0.0
    """Least duration in milliseconds."""

    def query(self) -> dict[str, str]:
        """The filter as parameters of a URL."""
        return {name: str(value) for name, value in msgspec.structs.asdict(self).items() if value}

    def matches(self, note: Observed | RequestAccount) -> bool:
        """Whether the exchange passes the filter."""
        return (
            (not self.model or fnmatchcase(note.model, self.model) or fnmatchcase(note.asked, self.model))
            and (not self.version or fnmatchcase(note.version, self.version))
            and (not self.pool or fnmatchcase(note.gpu_pool, self.pool))
            and (not self.code or fnmatchcase(note.code, self.code.replace("x", "?")))
            and (not self.caller or fnmatchcase(note.caller or UNKNOWN_CALLER, self.caller))
            and (not self.min_ms or (note.seconds or 0.0) * 1000 >= self.min_ms)
        )


class TapBuffer:
    """A bounded queue between the request path, which never waits, and a tap, which may be slow."""

    def __init__(self, size: int = MAX_QUEUED) -> None:
        self._queue: Queue[Ended | bytes] = Queue(size)
        self._lost = 0
        self._lock = Lock()

    def put(self, item: Ended | bytes) -> None:
        """Queues (Unix time of the end, exchange) or an encoded record. A full queue loses and counts it."""
        try:
            self._queue.put_nowait(item)
        except Full:
            with self._lock:
                self._lost += 1

    def explain(self, item: tuple[float, RequestAccount]) -> None:
        """Queues the account of an observed exchange, which is no record itself: a full queue loses it silently."""
        with suppress(Full):
            self._queue.put_nowait(item)

    def lines(self, heartbeat: float = HEARTBEAT_INTERVAL) -> Iterator[bytes]:
        """Lines of JSON, endless; an empty line after ``heartbeat`` seconds without one, or sooner. Answers that were
        broken off wait for their accounts here, on the tap's own thread.
        """
        awaited = AwaitedAccounts()
        while True:
            wait = awaited.next_overdue(time.time())
            try:
                item = self._queue.get(timeout=heartbeat if wait is None else min(heartbeat, wait))
            except Empty:
                overdue = awaited.overdue(time.time())
                yield from (encode_record(*one) for one in overdue) if overdue else (b"\n",)
            else:
                if isinstance(item, bytes):
                    yield item
                else:
                    yield from (encode_record(*one) for one in awaited.take(*item))
            if lost := self._take_lost():
                yield b'{"lost":%d}\n' % lost

    def _take_lost(self) -> int:
        with self._lock:
            lost, self._lost = self._lost, 0
        return lost


class OpenTaps:
    """The open taps of this process."""

    def __init__(self) -> None:
        self._open: tuple[tuple[TapFilter, TapBuffer], ...] = ()
        self._lock = Lock()

    def note(self, observed: Observed) -> None:
        """Passes a finished exchange to the taps, unless its account is shown. Called on the event loop's thread."""
        if not self._open or not observed.read_to_end:
            return
        now = time.time()
        for tap_filter, buffer in self._open:
            if tap_filter.matches(observed):
                buffer.put((now, observed))

    def account(self, account: RequestAccount) -> None:
        """Passes what Envoy tells of a request to the taps: those that were not drawn to be read to their ends, and why
        others failed, which may have gone elsewhere than the observer thinks. Called on the event loop's thread.
        """
        if not self._open:
            return
        now = time.time()
        for tap_filter, buffer in self._open:
            if not account.observed:
                if tap_filter.matches(account):
                    buffer.put((now, account))
            elif account.failure or account.code.startswith("5"):
                buffer.explain((now, account))

    @contextmanager
    def open(self, tap_filter: TapFilter) -> Iterator[Iterator[bytes]]:
        """A tap while the context lasts; yields its lines."""
        tap = (tap_filter, TapBuffer())
        with self._lock:
            self._open = (*self._open, tap)
        try:
            yield tap[1].lines()
        finally:
            with self._lock:
                self._open = tuple(other for other in self._open if other is not tap)


class TapRecord(msgspec.Struct, frozen=True):
    """One finished exchange as JSON. ``ms``: milliseconds; None: unknown, or there is none."""

    time: str
    """When it ended: ISO 8601, UTC."""
    code: str
    """The HTTP status; ``0`` where the client left before there was one."""
    failed: bool
    """The service failed (``golden_metrics.is_failure``)."""
    model: str
    """The pattern of the policy."""
    asked: str
    """The model as the client names it; any text."""
    version: str
    gpu_pool: str
    api: str
    operation: str
    cohort: str
    policy: str
    caller: str
    ms: float | None
    ttft_ms: float | None
    tpot_ms: float | None
    input_tokens: int | None
    output_tokens: int | None
    cached_tokens: int | None
    estimated: bool
    """The output tokens were counted by us: the server did not report them."""
    streamed: bool | None
    error: str
    """Of ``notes.ERRORS`` or ``notes.FAILURES``; empty where it ended as it should."""
    traceparent: str
    observed: bool = True
    """False: the answer was not drawn to be read to its end; what only an answer tells is not known."""


def encode_record(ended_at: float, note: Observed | RequestAccount) -> bytes:
    """An exchange that ended at a Unix time, as a line of JSON."""
    read = isinstance(note, Observed)
    observed = note if isinstance(note, Observed) else _unread(note)
    known: dict[str, Any] = {name: getattr(observed, name) for name in _COPIED_FIELDS}
    if not read:
        known["streamed"] = None
    times = (observed.seconds, observed.first_token, observed.per_token)
    ms: dict[str, Any] = dict(zip(("ms", "ttft_ms", "tpot_ms"), map(_ms, times), strict=True))
    when = datetime.fromtimestamp(ended_at, UTC).isoformat(timespec="milliseconds")
    return _ENCODER.encode(TapRecord(time=when, failed=is_failure(observed), **known, **ms, observed=read)) + b"\n"


def _unread(account: RequestAccount) -> Observed:
    """What is known of an exchange whose answer nobody read."""
    known: dict[str, Any] = {name: getattr(account, name) for name in _ACCOUNTED_FIELDS}
    return Observed(error=account.failure, **known)


def _ms(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds * 1000, 3)


_COPIED_FIELDS = tuple(name for name in TapRecord.__struct_fields__ if name in Observed.__struct_fields__)
_ACCOUNTED_FIELDS = tuple(name for name in RequestAccount.__struct_fields__ if name in Observed.__struct_fields__)
_ENCODER = msgspec.json.Encoder()

"""Live requests: whoever taps is told of each exchange as it ends.

Nobody waits for a tapper: one that reads too slowly loses records and is told how many. Without one, an exchange costs
the look at an empty tuple.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from queue import Empty, Full, Queue
from threading import Lock
from typing import Any

import msgspec

from extproc.envoy.actions import Observed
from extproc.telemetry.golden import failed

HELD = 1000
"""Records that wait for a tapper."""
BEAT = 2.0
"""Seconds of silence after which a tapper gets an empty line: so it is found out who has gone."""


class TapFilter(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which exchanges a tapper wants; patterns are globs, empty: any."""

    model: str = ""
    """Of the policy's pattern or the model as the client names it."""
    version: str = ""
    pool: str = ""
    code: str = ""
    """A status, or a class of them: ``5xx``."""
    caller: str = ""
    min_ms: float = 0.0

    def query(self) -> dict[str, str]:
        """The parameters that say the same."""
        return {name: str(value) for name, value in msgspec.structs.asdict(self).items() if value}

    def matches(self, observed: Observed) -> bool:
        """Whether it is wanted."""
        return (
            (not self.model or fnmatchcase(observed.model, self.model) or fnmatchcase(observed.asked, self.model))
            and (not self.version or fnmatchcase(observed.version, self.version))
            and (not self.pool or fnmatchcase(observed.gpu_pool, self.pool))
            and (not self.code or fnmatchcase(observed.code, self.code.replace("x", "?")))
            and (not self.caller or fnmatchcase(observed.caller, self.caller))
            and (not self.min_ms or (observed.seconds or 0.0) * 1000 >= self.min_ms)
        )


class Buffer:
    """Between one who must not wait and one who may be slow."""

    def __init__(self, held: int = HELD) -> None:
        self._queue: Queue[tuple[float, Observed] | bytes] = Queue(held)
        self._lost = 0
        self._lock = Lock()

    def put(self, item: tuple[float, Observed] | bytes) -> None:
        """An exchange and when it ended (Unix time), or a line about one. Without room it is lost, and counted."""
        try:
            self._queue.put_nowait(item)
        except Full:
            with self._lock:
                self._lost += 1

    def lines(self, beat: float = BEAT) -> Iterator[bytes]:
        """Lines of JSON as they come, without an end. Empty ones after so many seconds of silence."""
        while True:
            try:
                item = self._queue.get(timeout=beat)
            except Empty:
                yield b"\n"
            else:
                yield item if isinstance(item, bytes) else line(*item)
            if lost := self._taken():
                yield b'{"lost":%d}\n' % lost

    def _taken(self) -> int:
        with self._lock:
            lost, self._lost = self._lost, 0
        return lost


class Taps:
    """All who tap this process."""

    def __init__(self) -> None:
        self._open: tuple[tuple[TapFilter, Buffer], ...] = ()
        self._lock = Lock()

    def note(self, observed: Observed) -> None:
        """A finished exchange; called on the engine's thread."""
        for wanted, buffer in self._open:
            if wanted.matches(observed):
                buffer.put((time.time(), observed))

    @contextmanager
    def open(self, wanted: TapFilter) -> Iterator[Iterator[bytes]]:
        """Lines of JSON for as long as the context lasts."""
        mine = (wanted, Buffer())
        with self._lock:
            self._open = (*self._open, mine)
        try:
            yield mine[1].lines()
        finally:
            with self._lock:
                self._open = tuple(one for one in self._open if one is not mine)


class Record(msgspec.Struct, frozen=True):
    """One finished exchange, as JSON tells it. Times are milliseconds; None: it is not known, or there is none."""

    time: str
    """When it ended: ISO 8601, UTC."""
    code: str
    """The HTTP status; ``0`` where the client left before there was one."""
    failed: bool
    """By the service's fault."""
    model: str
    """The policy's pattern."""
    asked: str
    """The model as the client names it: any text."""
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
    """The output tokens were counted, not told."""
    streamed: bool
    error: str
    traceparent: str


def line(at: float, observed: Observed) -> bytes:
    """An exchange that ended at this Unix time, as a line of JSON."""
    known: dict[str, Any] = {name: getattr(observed, name) for name in _SAME}
    times = (observed.seconds, observed.first_token, observed.per_token)
    ms: dict[str, Any] = dict(zip(("ms", "ttft_ms", "tpot_ms"), map(_ms, times), strict=True))
    when = datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds")
    return _ENCODER.encode(Record(time=when, failed=failed(observed), **known, **ms)) + b"\n"


def _ms(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds * 1000, 3)


_SAME = tuple(name for name in Record.__struct_fields__ if name in Observed.__struct_fields__)
_ENCODER = msgspec.json.Encoder()

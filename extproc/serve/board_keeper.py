"""Keeps the board of a replica: runs the collector while a page is wanted, and finds lost ends of requests."""

from __future__ import annotations

import logging
import sys
import time
from threading import Event, Thread
from typing import TYPE_CHECKING

from extproc.errors import SetupError
from extproc.picking.board_layout import BEAT, CPU, FAILED, FAILURES, READ, REPORTED_AT
from extproc.serve.child_process import ChildProcess
from extproc.serve.restart_backoff import RestartBackoff
from extproc.serve.shared_board import SharedBoard
from extproc.telemetry.endpoint_gauges import CollectorGauges

if TYPE_CHECKING:
    from extproc.picking.board import Slot

log = logging.getLogger(__name__)

_INTERVAL = 0.25
"""Seconds between two looks."""
_LOOKS_PER_SEARCH = 4
_HANGS_AFTER, _STARTS_WITHIN = 10.0, 60.0
"""Seconds without a sign of life after which the collector is killed, and those until its first one: a busy machine
takes long to import what it needs.
"""
_PATIENCE = 1.0
"""Seconds that the collector has to end, and then the thread."""


class BoardKeeper:
    """A thread of the process that the others descend from. What it starts ends with it (``child_process``)."""

    def __init__(self, shared: SharedBoard) -> None:
        self._shared = shared
        self._thread = Thread(target=self._run, name="board-keeper", daemon=True)
        self._stopping = Event()
        self._backoff = RestartBackoff()
        self._generation = 0
        self._pages = False
        self._started_at = 0.0
        self._logged: set[type[Exception]] = set()
        self.collector: ChildProcess | None = None
        self.restarts = 0

    def start(self) -> None:
        """Starts the thread."""
        self._thread.start()

    def stop(self) -> None:
        """Ends the thread and the collector, and waits for them."""
        self._stopping.set()
        self._thread.join(2 * _PATIENCE)

    def gauges(self) -> CollectorGauges | None:
        """The collector's numbers; None where it was never needed."""
        if not self._pages and self.collector is None:
            return None
        from extproc.picking.loads import STALE_AFTER  # with numpy

        board = self._shared.board
        ages = [self._age(slot) for slot in board.slots() if slot.wanted.page is not None]
        numbers = board.numbers.tolist()
        return CollectorGauges(
            len(ages),
            sum(age > STALE_AFTER for age in ages),
            max(ages, default=0.0),
            numbers[READ],
            dict(zip(FAILURES, numbers[FAILED:], strict=True)),
            numbers[CPU],
            self.restarts,
        )

    def _age(self, slot: Slot) -> float:
        return time.monotonic() - float(self._shared.board.reports[REPORTED_AT, slot.number])

    def _run(self) -> None:
        looks, ends = 0, None
        try:
            while not self._stopping.wait(_INTERVAL):
                if not self._shared.generation:
                    continue
                if ends is None:
                    from extproc.picking.lost_ends import LostEnds  # numpy takes a tenth of a second to load

                    ends = LostEnds(self._shared.board)
                try:
                    self._keep_collector(time.monotonic())
                    if looks % _LOOKS_PER_SEARCH == 0:
                        ends.find(time.monotonic())
                except Exception as error:  # whatever it is, the next look may do better
                    if type(error) not in self._logged:
                        self._logged.add(type(error))
                        log.exception("the loads of endpoints are kept on after an error of ours")
                looks += 1
        finally:
            if self.collector is not None:
                self.collector.terminate(_PATIENCE)

    def _keep_collector(self, now: float) -> None:
        if (generation := self._shared.generation) != self._generation:
            self._pages = any(slot.wanted.page or slot.wanted.gpus for slot in self._shared.board.slots())
            self._generation = generation
        child = self.collector
        if child is not None and not child.alive:
            log.warning("the collector %s", self._backoff.record_exit(child.process.returncode, now))
            self.collector, self.restarts = None, self.restarts + 1
        elif child is not None and not self._pages:
            child.terminate(_PATIENCE)
            self.collector = None
        elif child is not None and self._hangs(now):
            log.warning("the collector hangs")
            child.process.kill()
        elif child is None and self._pages and self._backoff.is_due(now):
            self._start(now)

    def _hangs(self, now: float) -> bool:
        beat = self._shared.board.numbers[BEAT]
        return bool(now > (beat + _HANGS_AFTER if beat > self._started_at else self._started_at + _STARTS_WITHIN))

    def _start(self, now: float) -> None:
        words = (str(self._shared.fd), str(self._shared.workers))
        command = [sys.executable, "-m", "extproc.serve.load_collector", *words]
        try:
            self.collector = ChildProcess("the collector", command, echo=True, inherits=[self._shared.fd])
        except SetupError as error:
            log.warning("%s", self._backoff.record_failed_start(str(error), now))
        else:
            self._backoff.record_start(now)
            self._started_at = now

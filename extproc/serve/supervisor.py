"""``extproc serve --workers N``: processes on addresses of their own, and one admin port for all.

The parent decides nothing and opens no gRPC port: it starts workers, looks after them, adds up what they count and
passes signals on. Why addresses and not one shared port: see docs/scaling.md.
"""

from __future__ import annotations

import logging
import os
import signal
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from queue import Empty, SimpleQueue
from tempfile import TemporaryDirectory
from typing import Any

from extproc.admin.client import ReplicaTaps
from extproc.admin.server import Admin, AdminContent
from extproc.errors import SetupError
from extproc.policyfile import loader
from extproc.serve.certificates import certificates
from extproc.serve.options import Options, spread
from extproc.serve.signals import caught
from extproc.serve.worker import Worker
from extproc.telemetry.metrics import Metrics
from extproc.telemetry.recent_traffic import TrafficReport, merge_reports
from extproc.telemetry.tap import TapFilter

log = logging.getLogger(__name__)

_LOOK, _SOON = 1.0, 0.05
"""Seconds between two looks at the workers: usually, and while they start or end."""


class Workers:
    """All of them, from start to exit."""

    def __init__(self, options: Options) -> None:
        """Reads policies and certificates: a mistake is told once. Raises ``PolicyProblems``, ``SetupError``."""
        loader.build(loader.read(options.policies, watched=True))
        certificates(options)
        self._addresses = spread(options.listen, options.workers)
        self._options = options
        self._directory = TemporaryDirectory(prefix="extproc-")
        directory = Path(self._directory.name)
        self._workers = [Worker(number, options, directory) for number in range(options.workers)]
        self._state = "starting"
        self._admin = Admin(
            options.admin, AdminContent(self._total, self._unready, self._config, self._recent, self._tap)
        )

    def run(self) -> int:
        """Until SIGTERM or SIGINT, then until all have drained. The exit status."""
        self._admin.start()
        try:
            with caught() as signals:
                for worker in self._workers:
                    worker.start()
                if self._begin(signals):
                    self._attend(signals)
                return self._drain(signals)
        finally:
            for worker in self._workers:
                worker.end(0.5)
            self._admin.stop()
            self._directory.cleanup()

    def _begin(self, signals: SimpleQueue[int]) -> bool:
        """Whether all are ready; not if we are asked to stop before. Raises ``SetupError`` where one gives up."""
        while not all(worker.ready for worker in self._workers):
            if self._next(signals, _SOON):
                return False
            for worker in self._workers:
                if not worker.alive:
                    raise SetupError(f"{worker.name} could not start (exit status {worker.status}); see its log above")
                worker.look()
        self._state = ""
        log.info("%d workers serve on %s; admin on port %d", len(self._workers), self._where, self._admin.port)
        return True

    def _attend(self, signals: SimpleQueue[int]) -> None:
        """Until we are asked to stop."""
        while True:
            whole = all(worker.ready for worker in self._workers)
            if self._next(signals, _LOOK if whole else 4 * _SOON):
                return
            for worker in self._workers:
                worker.look()

    def _drain(self, signals: SimpleQueue[int]) -> int:
        """Each worker drains as one alone does; their admin ports' sum stays until the last has gone."""
        self._state = "draining"
        for worker in self._workers:
            worker.send(signal.SIGTERM)
        deadline = time.monotonic() + self._options.drain + self._options.grace + 10
        while any(worker.alive for worker in self._workers) and time.monotonic() < deadline:
            if number := self._next(signals, _SOON):
                log.warning("second %s: leaving at once", signal.Signals(number).name)
                for worker in self._workers:
                    worker.send(signal.SIGKILL)
                self._directory.cleanup()
                os._exit(128 + number)
        failed = [worker.name for worker in self._workers if worker.status not in (0, None)]
        if failed:
            log.warning("%s did not end well", ", ".join(failed))
        else:
            log.info("drained, bye")
        return 1 if failed else 0

    def _next(self, signals: SimpleQueue[int], seconds: float) -> int:
        """The signal that asks us to stop, or 0 after so many seconds; SIGHUP is passed on."""
        try:
            number = signals.get(timeout=seconds)
        except Empty:
            return 0
        if number != signal.SIGHUP:
            return number
        for worker in self._workers:
            worker.send(signal.SIGHUP)
        return 0

    @property
    def _where(self) -> str:
        return ", ".join(self._addresses)

    def _total(self) -> Metrics:
        total = Metrics()
        for worker in self._workers:
            worker.add_to(total)
        total.workers = self._ready
        total.worker_restarts = sum(worker.restarts for worker in self._workers)
        return total

    @property
    def _ready(self) -> int:
        return sum(worker.ready for worker in self._workers)

    def _recent(self) -> TrafficReport:
        return merge_reports(report for worker in self._workers if (report := worker.recent()) is not None)

    @contextmanager
    def _tap(self, wanted: TapFilter) -> Iterator[Iterator[bytes]]:
        tapping = ReplicaTaps(wanted)
        tapping.follow([worker.replica for worker in self._workers])
        try:
            yield tapping.buffer.lines()
        finally:
            tapping.follow([])

    def _unready(self) -> str:
        """At the start all must be ready; later half of them will do: Envoy asks each for its health itself."""
        if not self._state and self._ready * 2 < len(self._workers):
            return f"{self._ready} of {len(self._workers)} workers are ready"
        return self._state

    def _config(self) -> Mapping[str, Any]:
        found = (worker.config() for worker in self._workers if worker.ready)
        policies: dict[str, Any] = next((answer for answer in found if answer is not None), {})
        return policies | {"workers": [worker.describe() for worker in self._workers]}

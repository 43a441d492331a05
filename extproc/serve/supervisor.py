"""``extproc serve --workers N``: a supervisor of N worker processes with addresses of their own, and one admin port.

The supervisor decides no request and opens no gRPC port: it starts workers and restarts those that end, adds up their
metrics and passes signals on. docs/scaling.md says why workers have addresses of their own instead of a shared port.
"""

from __future__ import annotations

import logging
import os
import signal
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from queue import Empty, SimpleQueue
from typing import Any

import msgspec

from extproc.admin.client import ReplicaTaps
from extproc.admin.server import AdminContent, AdminServer
from extproc.errors import SetupError
from extproc.grpc_server.tls import Certificates
from extproc.policyfile.session_keys import read_session_keys
from extproc.policyfile.watcher import PolicyWatcher
from extproc.serve.board_keeper import BoardKeeper
from extproc.serve.options import ServeOptions, spread_addresses
from extproc.serve.rollout_driver import RolloutDriver
from extproc.serve.run_directory import RunDirectory
from extproc.serve.shared_board import SharedBoard
from extproc.serve.signals import signal_queue
from extproc.serve.worker import Worker
from extproc.telemetry.measured_versions import Measured, encode_report
from extproc.telemetry.metrics import Metrics
from extproc.telemetry.recent_traffic_by_caller import TrafficReport, merge_reports
from extproc.telemetry.serving_gauges import ServingGauges
from extproc.telemetry.tap import TapFilter

log = logging.getLogger(__name__)

_STARTING = "starting"
_POLL_INTERVAL, _FAST_POLL_INTERVAL = 1.0, 0.05
"""Seconds between two polls of the workers: usually, and while they start or end."""


class Supervisor:
    """The parent of the worker processes."""

    def __init__(self, options: ServeOptions) -> None:
        """Checks files once, not in each worker. Raises ``PolicyProblems`` and ``SetupError``."""
        self._policy_watcher = PolicyWatcher(options.policies) if options.policies else None
        Certificates.of_files(*options.tls_files)
        read_session_keys(options.session_key)
        self._addresses = spread_addresses(options.listen, options.workers)
        self._shared = SharedBoard(options.workers)
        self._options = options = msgspec.structs.replace(options, board=self._shared.fd)
        self._board_keeper = BoardKeeper(self._shared)
        content = AdminContent(
            self._total_metrics,
            self._unready,
            self._config,
            self._recent,
            self._tap,
            self._rollouts,
            lambda: encode_report(self._evidence()),
            spans=lambda: [span for worker in self._workers for span in worker.spans()],
        )
        self._admin = AdminServer(options.admin, content)  # it may raise: before there is a directory to remove
        self._directory = RunDirectory()
        directory = self._directory.path
        self._workers = [Worker(number, options, directory) for number in range(options.workers)]
        self._state = _STARTING
        self._rollout_driver = None
        if self._policy_watcher is not None and not options.in_cluster:
            watcher = self._policy_watcher
            self._rollout_driver = RolloutDriver(
                options.policies, lambda: watcher.snapshot, self._evidence, self._reload
            )

    def run(self) -> int:
        """Serves until SIGTERM or SIGINT, then drains all workers. Returns the exit status. Raises ``SetupError``."""
        self._admin.start()
        self._board_keeper.start()
        try:
            with signal_queue() as signals:
                for worker in self._workers:
                    worker.start()
                if self._await_ready(signals):
                    self._supervise(signals)
                return self._drain(signals)
        finally:
            if self._rollout_driver is not None:
                self._rollout_driver.stop()
            if self._policy_watcher is not None:
                self._policy_watcher.stop()
            for worker in self._workers:
                worker.terminate(0.5)
            self._board_keeper.stop()
            self._admin.stop()
            self._directory.remove()

    def _await_ready(self, signals: SimpleQueue[int]) -> bool:
        """Returns True once all workers are ready, False at a signal to stop. Raises ``SetupError`` where one ends."""
        while not all(worker.ready for worker in self._workers):
            if self._next_signal(signals, _FAST_POLL_INTERVAL):
                return False
            for worker in self._workers:
                if not worker.alive:
                    raise SetupError(
                        f"{worker.name} could not start (exit status {worker.exit_status}); see its log above"
                    )
                worker.poll()
        self._state = ""
        if self._policy_watcher is not None:
            self._policy_watcher.start()
        if self._rollout_driver is not None:
            self._rollout_driver.start()
        log.info(
            "%d workers serve on %s; admin on port %d", len(self._workers), self._listed_addresses, self._admin.port
        )
        return True

    def _supervise(self, signals: SimpleQueue[int]) -> None:
        """Polls the workers until a signal to stop."""
        while True:
            all_ready = all(worker.ready for worker in self._workers)
            if self._next_signal(signals, _POLL_INTERVAL if all_ready else 4 * _FAST_POLL_INTERVAL):
                return
            for worker in self._workers:
                worker.poll()

    def _drain(self, signals: SimpleQueue[int]) -> int:
        """Has every worker drain; the admin port answers until the last has ended. Returns the exit status."""
        self._state = "draining"
        for worker in self._workers:
            worker.send_signal(signal.SIGTERM)
        deadline = time.monotonic() + self._options.drain + self._options.grace + 10
        while any(worker.alive for worker in self._workers) and time.monotonic() < deadline:
            if number := self._next_signal(signals, _FAST_POLL_INTERVAL):
                log.warning("second %s: leaving at once", signal.Signals(number).name)
                for worker in self._workers:
                    worker.send_signal(signal.SIGKILL)
                self._directory.remove()
                os._exit(128 + number)
        failed = [worker.name for worker in self._workers if worker.exit_status not in (0, None)]
        if failed:
            log.warning("%s did not end well", ", ".join(failed))
        else:
            log.info("drained, bye")
        return 1 if failed else 0

    def _next_signal(self, signals: SimpleQueue[int], seconds: float) -> int:
        """The next signal to stop, or 0 where none comes within ``seconds``; SIGHUP is passed on to the workers."""
        try:
            number = signals.get(timeout=seconds)
        except Empty:
            return 0
        if number != signal.SIGHUP:
            return number
        self._reload()
        return 0

    def _reload(self) -> None:
        """Every process reads the policy files at once."""
        if self._policy_watcher is not None:
            self._policy_watcher.request_reload()
        for worker in self._workers:
            worker.send_signal(signal.SIGHUP)

    def _evidence(self) -> Measured:
        """What each worker has counted for verdicts on rollouts."""
        found = [(worker.name, worker.evidence()) for worker in self._workers]
        silent = ", ".join(name for name, measured in found if measured is None)
        processes = [process for _, measured in found if measured is not None for process in measured.processes]
        return Measured(processes, silent and f"{silent} can't be heard")

    def _rollouts(self) -> Sequence[Mapping[str, Any]]:
        return self._rollout_driver.status() if self._rollout_driver is not None else ()

    @property
    def _listed_addresses(self) -> str:
        return ", ".join(self._addresses)

    def _total_metrics(self) -> Metrics:
        total = Metrics()
        for worker in self._workers:
            worker.add_to(total)
        total.serving = lambda: ServingGauges(collector=self._board_keeper.gauges())
        total.workers = self._ready_workers
        total.worker_restarts = sum(worker.restarts for worker in self._workers)
        return total

    @property
    def _ready_workers(self) -> int:
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
        """Why it is not ready; empty where it is.

        At the start all workers must be ready. Later half of them suffice: Envoy checks the health of each itself.
        """
        if not self._state and self._ready_workers * 2 < len(self._workers):
            return f"{self._ready_workers} of {len(self._workers)} workers are ready"
        if self._state == _STARTING:
            return "; ".join((_STARTING, *(w.unready for w in self._workers if not w.ready and w.unready)))
        return self._state

    def _config(self) -> Mapping[str, Any]:
        found = (worker.config() for worker in self._workers if worker.ready)
        policies: dict[str, Any] = next((answer for answer in found if answer is not None), {})
        return policies | {"workers": [worker.describe() for worker in self._workers]}

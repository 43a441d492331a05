"""One of the ``extproc serve`` processes under a supervisor: starts it, restarts it, and reads its admin port.

The admin port is a unix socket in a directory of the supervisor's. Start workers from the main thread
(``child_process``).
"""

from __future__ import annotations

import json
import logging
import signal
import sys
import time
from contextlib import suppress
from pathlib import Path
from threading import Lock
from typing import Any

import msgspec

from extproc.admin.client import Replica, Unreachable
from extproc.envoy.codec import Malformed
from extproc.errors import SetupError
from extproc.serve.child_process import ChildProcess
from extproc.serve.options import ServeOptions
from extproc.serve.restart_backoff import RestartBackoff
from extproc.telemetry.measured_versions import Measured, decode_report
from extproc.telemetry.metrics import Metrics
from extproc.telemetry.recent_traffic_by_caller import TrafficReport
from extproc.telemetry.spans import Span, decode_spans

log = logging.getLogger(__name__)

_TIMEOUT = 1.0
"""Seconds within which a worker must answer on its admin port."""


class Worker:
    """A worker, which outlives its processes: when one ends, the next is started, and its counts go on."""

    def __init__(self, number: int, options: ServeOptions, directory: Path) -> None:
        """``number`` counts from 0; the name in logs counts from 1. ``directory`` is for its socket."""
        self.name = f"worker {number + 1}"
        socket = directory / f"{number + 1}.sock"
        self.options = options.for_worker(number, f"unix://{socket}")
        self.replica = Replica(self.name, str(socket))
        self.ready = False
        self.unready = ""
        """Why it is not ready, as far as that is known."""
        self.restarts = 0
        self._child: ChildProcess | None = None
        self._backoff = RestartBackoff()
        self._lock = Lock()
        self._state: bytes | None = None
        self._retired = Metrics()

    def start(self) -> None:
        """Starts the process; ``poll`` sets ``ready`` once it serves. Raises ``SetupError``."""
        command = [sys.executable, "-m", "extproc", *self.options.arguments()]
        inherits = () if self.options.board is None else (self.options.board,)
        self._child = ChildProcess(self.name, command, echo=True, inherits=inherits)
        self._backoff.record_start(time.monotonic())

    @property
    def alive(self) -> bool:
        """Whether a process runs."""
        return self._child is not None and self._child.alive

    @property
    def exit_status(self) -> int | None:
        """The exit status of its process; None while it runs, and where there is none."""
        return None if self._child is None else self._child.process.returncode

    def poll(self) -> None:
        """Updates ``ready`` and the counts; where the process has ended, reaps it, or restarts it once that is due."""
        now = time.monotonic()
        if self._child is None:
            if self._backoff.is_due(now):
                self._restart(now)
        elif not self._child.alive:
            outcome = self._backoff.record_exit(self._child.process.returncode, now)
            log.warning("%s (%s) %s", self.name, self._addresses, outcome)
            self._reap()
        else:
            self.ready = self._is_ready()
            self.state()

    def _reap(self) -> None:
        """The process has ended; its counts are kept."""
        with self._lock:
            if self._state is not None:
                self._retired.add(self._state, alive=False)
            self._state = None
            self._child = None
            self.ready = False

    def add_to(self, total: Metrics) -> None:
        """Adds its counts, and those of the processes before it."""
        state = self.state()
        total.add(self._retired.state(), alive=False)
        if state is not None:
            total.add(state)

    def state(self) -> bytes | None:
        """Its counts, fresh where it answers, otherwise the last known; None where there is no process."""
        with self._lock:
            if self._child is not None:
                # One that starts, hangs or has just ended does not answer: the last known counts stay.
                with suppress(Unreachable):
                    self._state = self._get("/state")
            return self._state

    def config(self) -> dict[str, Any] | None:
        """Its ``/config``; None where there is no answer."""
        try:
            found: dict[str, Any] = json.loads(self._get("/config"))
        except (Unreachable, ValueError):
            return None
        return found

    def recent(self) -> TrafficReport | None:
        """Its ``/recent``, the traffic of the last minutes; None where there is no answer."""
        try:
            return msgspec.json.decode(self._get("/recent"), type=TrafficReport)
        except (Unreachable, msgspec.MsgspecError):
            return None

    def evidence(self) -> Measured | None:
        """Its ``/evidence`` for verdicts on rollouts; None where there is no answer."""
        try:
            return decode_report(self._get("/evidence"))
        except (Unreachable, msgspec.MsgspecError):
            return None

    def spans(self) -> list[Span]:
        """Those that it has received lately; none where there is no answer."""
        try:
            return decode_spans(self._get("/spans"))
        except (Unreachable, Malformed):
            return []

    def describe(self) -> dict[str, Any]:
        """What ``/config`` says of it."""
        child = self._child
        return {
            "listen": list(self.options.listen),
            "ready": self.ready,
            "pid": None if child is None else child.process.pid,
            "restarts": self.restarts,
        }

    def send_signal(self, number: signal.Signals) -> None:
        """Sends a signal, if it runs."""
        if self._child is not None:
            self._child.send_signal(number)

    def terminate(self, timeout: float) -> None:
        """Sends SIGTERM, then SIGKILL if it has not ended ``timeout`` seconds later."""
        if self._child is not None:
            self._child.terminate(timeout)

    def _restart(self, now: float) -> None:
        try:
            self.start()
        except SetupError as error:
            log.warning("%s (%s): %s", self.name, self._addresses, self._backoff.record_failed_start(str(error), now))
        else:
            self.restarts += 1

    @property
    def _addresses(self) -> str:
        return ", ".join(self.options.listen)

    def _is_ready(self) -> bool:
        try:
            self._get("/readyz")
        except Unreachable as error:
            self.unready = str(error)
            return False
        return True

    def _get(self, path: str) -> bytes:
        return self.replica.get(path, _TIMEOUT)

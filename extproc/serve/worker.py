"""One of several ``extproc serve`` processes: started, asked, buried, started again.

Its admin port is a unix socket that only its supervisor knows. Start workers from the main thread (see ``child``).
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
from extproc.errors import SetupError
from extproc.serve.child_process import Child
from extproc.serve.options import Options
from extproc.serve.restart_backoff import Restarts
from extproc.telemetry.metrics import Metrics
from extproc.telemetry.recent_traffic import TrafficReport

log = logging.getLogger(__name__)

_PATIENCE = 1.0
"""Seconds that a worker has to answer on its admin port."""


class Worker:
    """A place for a process, not a process: it lives on when one dies."""

    def __init__(self, number: int, options: Options, directory: Path) -> None:
        """``number`` counts from 0; the name that people see counts from 1."""
        self.name = f"worker {number + 1}"
        socket = directory / f"{number + 1}.sock"
        self.options = options.worker(number, f"unix://{socket}")
        self.replica = Replica(self.name, str(socket))
        self.ready = False
        self.restarts = 0
        self._child: Child | None = None
        self._restarts = Restarts()
        self._lock = Lock()
        self._state: bytes | None = None
        self._retired = Metrics()

    def start(self) -> None:
        """Begins; ``ready`` tells when it serves. Raises ``SetupError`` where the machine does not allow it."""
        command = [sys.executable, "-m", "extproc", *self.options.arguments()]
        self._child = Child(self.name, command, echo=True)
        self._restarts.started(time.monotonic())

    @property
    def alive(self) -> bool:
        """There is a process."""
        return self._child is not None and self._child.alive

    @property
    def status(self) -> int | None:
        """The exit status of the last process, once it has ended."""
        return None if self._child is None else self._child.process.returncode

    def look(self) -> None:
        """Sees whether it is ready; starts it again when it is dead and the time has come."""
        now = time.monotonic()
        if self._child is None:
            if self._restarts.due(now):
                self._start_again(now)
        elif not self._child.alive:
            told = self._restarts.ended(self._child.process.returncode, now)
            log.warning("%s (%s) %s", self.name, self._where, told)
            self.reap()
        else:
            self.ready = self._answers()
            self.state()

    def reap(self) -> None:
        """It has ended: what it counted counts on."""
        with self._lock:
            if self._state is not None:
                self._retired.add(self._state, alive=False)
            self._state = None
            self._child = None
            self.ready = False

    def add_to(self, total: Metrics) -> None:
        """Its counts and those of the dead before it."""
        state = self.state()
        total.add(self._retired.state(), alive=False)
        if state is not None:
            total.add(state)

    def state(self) -> bytes | None:
        """What it has counted, as fresh as can be had; None where there is no process."""
        with self._lock:
            if self._child is not None:
                # Starting, stuck or just dead: what we had is the best there is.
                with suppress(Unreachable):
                    self._state = self._ask("/state")
            return self._state

    def config(self) -> dict[str, Any] | None:
        """Its ``/config``; None where there is no answer."""
        try:
            found: dict[str, Any] = json.loads(self._ask("/config"))
        except (Unreachable, ValueError):
            return None
        return found

    def recent(self) -> TrafficReport | None:
        """What it remembers of the last minutes; None where there is no answer."""
        try:
            return msgspec.json.decode(self._ask("/recent"), type=TrafficReport)
        except (Unreachable, msgspec.MsgspecError):
            return None

    def describe(self) -> dict[str, Any]:
        """For people."""
        child = self._child
        return {
            "listen": list(self.options.listen),
            "ready": self.ready,
            "pid": None if child is None else child.process.pid,
            "restarts": self.restarts,
        }

    def send(self, number: signal.Signals) -> None:
        """A signal, if it lives."""
        if self._child is not None:
            self._child.send(number)

    def end(self, patience: float) -> None:
        """SIGTERM, and SIGKILL ``patience`` seconds later."""
        if self._child is not None:
            self._child.end(patience)

    def _start_again(self, now: float) -> None:
        try:
            self.start()
        except SetupError as error:
            log.warning("%s (%s): %s", self.name, self._where, self._restarts.not_started(str(error), now))
        else:
            self.restarts += 1

    @property
    def _where(self) -> str:
        return ", ".join(self.options.listen)

    def _answers(self) -> bool:
        try:
            self._ask("/readyz")
        except Unreachable:
            return False
        return True

    def _ask(self, path: str) -> bytes:
        return self.replica.get(path, _PATIENCE)

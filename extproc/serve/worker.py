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
from extproc.serve.child_process import Child
from extproc.serve.options import Options
from extproc.telemetry.metrics import Metrics
from extproc.telemetry.recent_traffic import Report

log = logging.getLogger(__name__)

_PATIENCE = 1.0
"""Seconds that a worker has to answer on its admin port."""
_STEADY = 60.0
"""Seconds after which a death counts as the first again."""
_LONGEST = 30.0
"""Seconds between two attempts to start one, at most."""


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
        self._started = self._again = 0.0
        self._deaths = 0
        self._lock = Lock()
        self._state: bytes | None = None
        self._retired = Metrics()

    def start(self) -> None:
        """Begins; ``ready`` tells when it serves."""
        self._started = time.monotonic()
        command = [sys.executable, "-m", "extproc", *self.options.arguments()]
        self._child = Child(self.name, command, echo=True)

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
        if self._child is None:
            if time.monotonic() >= self._again:
                self.restarts += 1
                self.start()
        elif not self._child.alive:
            self._again = time.monotonic() + self._backoff(self._child)
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

    def recent(self) -> Report | None:
        """What it remembers of the last minutes; None where there is no answer."""
        try:
            return msgspec.json.decode(self._ask("/recent"), type=Report)
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

    def _backoff(self, child: Child) -> float:
        """Seconds until the next start. One that left in peace is back at once."""
        status = child.process.returncode
        if status == 0 or time.monotonic() - self._started > _STEADY:
            self._deaths = 0
        wait = 0.0 if status == 0 else min(0.5 * 2.0**self._deaths, _LONGEST)
        self._deaths += status != 0
        how = f"exit status {status}" if status >= 0 else signal.Signals(-status).name
        log.warning("%s (%s) ended with %s; starting it again in %gs", self.name, self._where, how, wait)
        return wait

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

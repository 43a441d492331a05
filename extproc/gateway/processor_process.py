"""The processor's process: started, restarted, asked whether it is ready."""

from __future__ import annotations

import sys
import time

from extproc.errors import SetupError
from extproc.fetch.steps import get, run
from extproc.fetch.url import Url
from extproc.render.envoy.envoy_options import host_port
from extproc.serve.child_process import ChildProcess
from extproc.serve.options import ServeOptions
from extproc.serve.restart_backoff import RestartBackoff

_POLL_INTERVAL = 0.05
"""Seconds between two questions whether it is ready."""
_MAX_ANSWER = 64 << 10
"""Bytes."""


class Processor:
    """The processor's process, restarted where it ends by itself."""

    def __init__(self, options: ServeOptions, *, echo: bool = True) -> None:
        """Starts it. ``echo``: its log goes to our stderr. Raises ``SetupError``."""
        self._echo = echo
        self._command = [sys.executable, "-m", "extproc", *options.arguments()]
        self._backoff = RestartBackoff()
        self.child = self._start()
        self._running = True

    def wait_ready(self, admin: str, timeout: float = 20.0) -> None:
        """Returns once the admin port says so. Raises ``SetupError`` where it ends, or is not ready in time."""
        deadline = time.monotonic() + timeout
        while not _is_ready(admin):
            if not self.child.alive:
                raise SetupError(self.child.exit_report())
            if time.monotonic() > deadline:
                raise SetupError(f"the processor was not ready within {timeout:g} s")
            time.sleep(_POLL_INTERVAL)

    def poll(self) -> None:
        """Restarts the process where it has ended and that is due."""
        now = time.monotonic()
        if not self._running:
            if self._backoff.is_due(now):
                self._restart(now)
        elif not self.child.alive:
            self._running = False
            _print(f"the processor {self._backoff.record_exit(self.child.process.returncode, now)}")

    def _start(self) -> ChildProcess:
        child = ChildProcess("the processor", self._command, echo=self._echo)
        self._backoff.record_start(time.monotonic())
        return child

    def _restart(self, now: float) -> None:
        try:
            self.child = self._start()
        except SetupError as error:
            _print(self._backoff.record_failed_start(str(error), now))
        else:
            self._running = True


def _is_ready(admin: str) -> bool:
    try:
        return run(get(Url(*host_port(admin), "/readyz"), 2.0, _MAX_ANSWER)).status == 200
    except OSError:
        return False


def _print(text: str) -> None:
    print(f"extproc: {text}", file=sys.stderr, flush=True)

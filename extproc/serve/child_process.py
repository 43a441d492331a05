"""A child process that ends when this process does, and the last lines of its log."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
from collections import deque
from collections.abc import Sequence
from threading import Thread

from extproc.errors import SetupError
from extproc.serve.restart_backoff import describe_exit

_MAX_LOG_LINES = 20
"""Lines of the log that are kept, for the message when the child ends."""

_SHIM = "import ctypes, os, sys; ctypes.CDLL(None).prctl(1, 9); os.execv(sys.argv[1], sys.argv[1:])"
"""Sets PR_SET_PDEATHSIG (prctl(2)) to SIGKILL and runs the command: what ``setpriv --pdeathsig KILL`` does."""


class ChildProcess:
    """A running process.

    The kernel sends it SIGKILL when the thread that started it ends, so start it from the main thread. It has a session
    of its own: Ctrl-C in a terminal reaches only the parent, which decides the order in which its children end.
    """

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        *,
        echo: bool = False,
        output: bool = True,
        inherits: Sequence[int] = (),
    ) -> None:
        """Starts ``command``; ``name`` is for messages. Raises ``SetupError``.

        ``echo``: copy its stderr to ours, line by line. ``output``: its stdout is ours; otherwise it is discarded.
        ``inherits``: file descriptors that it has under the same numbers.
        """
        self.name = name
        self._lines: deque[str] = deque(maxlen=_MAX_LOG_LINES)
        self._echo = echo
        try:
            self.process = subprocess.Popen(
                [*_die_with_parent(), *command],
                stdin=subprocess.DEVNULL,
                stdout=None if output else subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                start_new_session=True,
                pass_fds=inherits,
                text=True,
                errors="replace",
            )
        except OSError as error:
            raise SetupError(f"cannot start {name} ({command[0]}): {error.strerror}") from error
        self._reader = Thread(target=self._read, name=f"log of {name}", daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stderr is not None  # noqa: S101 - for the type checker: it is a pipe
        with self.process.stderr as lines:
            for line in lines:
                self._lines.append(line.rstrip())
                if self._echo:
                    sys.stderr.write(line)
                    sys.stderr.flush()

    @property
    def alive(self) -> bool:
        """Whether it has not ended yet."""
        return self.process.poll() is None

    def last_line(self) -> str:
        """The last line of its log so far."""
        return self._lines[-1] if self._lines else ""

    def exit_report(self) -> str:
        """How it ended, and the last lines of its log."""
        self._reader.join(1)
        outcome = describe_exit(self.process.returncode)
        report = f"{self.name} ended with {outcome}"
        return "\n  ".join([f"{report}; its last words:", *self._lines]) if self._lines else report

    def send_signal(self, number: signal.Signals) -> None:
        """Sends a signal, if it has not ended."""
        if self.alive:
            self.process.send_signal(number)

    def terminate(self, timeout: float) -> None:
        """Sends SIGTERM, then SIGKILL if it has not ended ``timeout`` seconds later; returns once it has ended."""
        self.send_signal(signal.SIGTERM)
        try:
            self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self._reader.join(1)


def _die_with_parent() -> list[str]:
    """The words before a command that have the kernel kill it with its parent."""
    setpriv = shutil.which("setpriv")
    return [setpriv, "--pdeathsig", "KILL", "--"] if setpriv else [sys.executable, "-c", _SHIM]

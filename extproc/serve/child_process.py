"""A child process that never outlives us, and the last that it said."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
from collections import deque
from collections.abc import Sequence
from threading import Thread

from extproc.errors import SetupError
from extproc.serve.restart_backoff import ending

_LINES = 20
"""Of the log that are kept for the message when a child dies."""

_SHIM = "import ctypes, os, sys; ctypes.CDLL(None).prctl(1, 9); os.execv(sys.argv[1], sys.argv[1:])"  # PR_SET_PDEATHSIG


class Child:
    """A running process. It gets SIGKILL from the kernel when the thread that started it dies, so start it from the
    main thread; it has a session of its own, so that Ctrl-C in a terminal reaches us alone and the order stays ours.
    """

    def __init__(self, name: str, command: Sequence[str], *, echo: bool = False, output: bool = True) -> None:
        """``echo``: show its stderr line by line on ours, as it comes. ``output``: its stdout is ours, else nowhere."""
        self.name = name
        self._lines: deque[str] = deque(maxlen=_LINES)
        self._echo = echo
        try:
            self.process = subprocess.Popen(
                [*_dying_with_us(), *command],
                stdin=subprocess.DEVNULL,
                stdout=None if output else subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                start_new_session=True,
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
        """It has not ended."""
        return self.process.poll() is None

    def said(self) -> str:
        """The last line of its log so far."""
        return self._lines[-1] if self._lines else ""

    def exit_report(self) -> str:
        """Why it is dead, as far as it said so itself."""
        self._reader.join(1)
        how = ending(self.process.returncode)
        return "\n".join([f"{self.name} ended with {how}; its last words:", *(f"  {line}" for line in self._lines)])

    def send(self, number: signal.Signals) -> None:
        """A signal, if it still lives."""
        if self.alive:
            self.process.send_signal(number)

    def end(self, patience: float) -> None:
        """SIGTERM, and SIGKILL for what is still there ``patience`` seconds later."""
        self.send(signal.SIGTERM)
        try:
            self.process.wait(patience)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self._reader.join(1)


def _dying_with_us() -> list[str]:
    setpriv = shutil.which("setpriv")
    return [setpriv, "--pdeathsig", "KILL", "--"] if setpriv else [sys.executable, "-c", _SHIM]

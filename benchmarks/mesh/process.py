"""A measured process: pinned to a core, its CPU time and memory read from /proc."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Self


def cpu_seconds(pid: int) -> float:
    """User and system time of a process so far, of all its threads, to the nanosecond.

    The clock's number is what clock_getcpuclockid(3) makes of a process id on Linux. /proc counts in hundredths.
    """
    return time.clock_gettime((~pid << 3) | 2)


class Process:
    """Runs until the context ends; its output goes to a file."""

    def __init__(self, command: Sequence[str], core: int, log: Path) -> None:
        self.log = log
        self._command = ["taskset", "-c", str(core), *command]

    def __enter__(self) -> Self:
        with self.log.open("wb") as log:
            self._child = subprocess.Popen(self._command, stdout=log, stderr=log, stdin=subprocess.DEVNULL)
        return self

    def __exit__(self, *_: object) -> None:
        self._child.terminate()
        try:
            self._child.wait(10)
        except subprocess.TimeoutExpired:
            self._child.kill()
            self._child.wait()

    @property
    def pid(self) -> int:
        """Its process id; taskset has given way to the command itself."""
        return self._child.pid

    def check(self) -> None:
        """Raises RuntimeError with its last words if it has ended."""
        if self._child.poll() is not None:
            raise RuntimeError(f"{' '.join(self._command)} ended:\n{self.log.read_text()[-2000:]}")

    def cpu_seconds(self) -> float:
        """User and system time so far."""
        return cpu_seconds(self.pid)

    def rss_mib(self) -> float:
        """Resident memory in MiB."""
        pages = int(Path(f"/proc/{self.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE") / 2**20

"""What share of the machine's CPUs processes take. Linux only: it is read from /proc."""

from __future__ import annotations

import os
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path

from benchmarks.mesh.process import cpu_seconds

ROLES = {"bin/envoy": "Envoy", "load_collector": "collector", " serve ": "processor"}
"""By a word of the command, what a descendant is."""


class Usage:
    """From now on, of some processes and all their descendants."""

    def __init__(self, roots: Mapping[str, int]) -> None:
        """``roots``: process ids by what they are called. A descendant without a role of its own is called as they."""
        self._roots = roots
        self._began, self._idle, self._before = time.monotonic(), _idle_seconds(), self._seconds()

    def shares(self) -> tuple[dict[str, float], float]:
        """Of all CPUs: that of each role, and that which others took."""
        cpu_time = (time.monotonic() - self._began) * len(os.sched_getaffinity(0))
        found = {name: (spent - self._before.get(name, 0.0)) / cpu_time for name, spent in self._seconds().items()}
        return found, max(0.0, 1.0 - (_idle_seconds() - self._idle) / cpu_time - sum(found.values()))

    def _seconds(self) -> Mapping[str, float]:
        children = defaultdict[int, list[int]](list)
        for pid, parent in _parents():
            children[parent].append(pid)
        found = defaultdict[str, float](float)
        todo = list(self._roots.items())
        while todo:
            name, pid = todo.pop()
            with suppress(OSError):  # it has ended
                found[name] += cpu_seconds(pid)
                roots = self._roots.values()
                todo += [(_role(child) or name, child) for child in children[pid] if child not in roots]
        return found


def _parents() -> Iterator[tuple[int, int]]:
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with suppress(OSError):
                yield int(entry.name), int((entry / "stat").read_text().rpartition(")")[2].split()[1])


def _role(pid: int) -> str:
    command = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    return next((role for word, role in ROLES.items() if word in command), "")


def _idle_seconds() -> float:
    """Of the CPUs that this process may use."""
    ticks = 0
    for line in Path("/proc/stat").read_text().splitlines():
        name, *counts = line.split()
        if name.startswith("cpu") and name[3:].isdigit() and int(name[3:]) in os.sched_getaffinity(0):
            ticks += int(counts[3]) + int(counts[4])
    return ticks / os.sysconf("SC_CLK_TCK")

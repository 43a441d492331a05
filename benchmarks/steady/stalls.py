"""When the machine itself stood still: on a core, something that goes before all else looks at the clock every other
millisecond. A process of its own; `python -m benchmarks.steady.stalls CORE`, until its standard input ends.

Prints one JSON document: the times, on the system's monotonic clock, from and to which it was not let run. Nothing on
this machine could have kept it waiting, so a hypervisor has. Without the right to go first it says so: null.
"""

from __future__ import annotations

import json
import os
import select
import sys
from time import monotonic

PERIOD = 0.002
LONG = 0.002
"""Seconds that no system needs to wake a process that goes first."""


def main() -> int:
    """Sleeps, and notes when it slept too long."""
    os.sched_setaffinity(0, {int(sys.argv[1])})
    try:
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))
    except PermissionError:
        sys.stdin.read()
        json.dump(None, sys.stdout)
        return 0
    stalls: list[tuple[float, float]] = []
    before = monotonic()
    while not select.select([sys.stdin], [], [], PERIOD)[0]:
        now = monotonic()
        if now - before > PERIOD + LONG:
            stalls.append((before, now))
        before = now
    json.dump(stalls, sys.stdout)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())

"""Signals as a queue: the main loop takes them when it is ready."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from queue import SimpleQueue


@contextmanager
def caught() -> Iterator[SimpleQueue[int]]:
    """SIGTERM, SIGINT and SIGHUP, one after the other as they come, until the context is left."""
    queue: SimpleQueue[int] = SimpleQueue()
    numbers = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
    before = {number: signal.signal(number, lambda n, _frame: queue.put(n)) for number in numbers}
    try:
        yield queue
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)

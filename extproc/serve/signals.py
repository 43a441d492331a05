"""Signals as a queue, from which the main loop takes them."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from queue import SimpleQueue


@contextmanager
def signal_queue() -> Iterator[SimpleQueue[int]]:
    """The numbers of SIGTERM, SIGINT and SIGHUP in the order in which they come, until the context is left.

    Python takes signals in its main thread alone, so enter it there. The handlers from before are put back at the end.
    """
    queue: SimpleQueue[int] = SimpleQueue()
    numbers = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
    before = {number: signal.signal(number, lambda n, _frame: queue.put(n)) for number in numbers}
    try:
        yield queue
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)

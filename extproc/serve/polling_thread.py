"""A thread that looks at something now and then: the servers and the pages of which decisions must know."""

from __future__ import annotations

from abc import ABC, abstractmethod
from concurrent.futures import Executor, ThreadPoolExecutor
from threading import Event, Thread

TIMEOUT = 1.0
"""Seconds that connecting, and each read, may take."""
_MAX_CONCURRENT = 8
"""What is asked at a time."""


class PollingThread(ABC):
    """Calls ``_look`` every ``interval`` seconds until it is stopped."""

    def __init__(self, name: str, interval: float) -> None:
        """``name``: of the thread."""
        self._interval = interval
        self._stopping = Event()
        self._thread = Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        """Starts the thread."""
        self._thread.start()

    def stop(self) -> None:
        """Ends the thread and waits for it."""
        self._stopping.set()
        self._thread.join(2 * TIMEOUT)

    def _run(self) -> None:
        with ThreadPoolExecutor(_MAX_CONCURRENT, thread_name_prefix=self._thread.name) as executor:
            while not self._stopping.wait(self._interval):
                self._look(executor)

    @abstractmethod
    def _look(self, executor: Executor) -> None:
        """One look at everything. ``executor``: for what may be asked at the same time."""

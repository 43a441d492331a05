"""A thread that looks now and then."""

from __future__ import annotations

from concurrent.futures import Executor

from extproc.serve.polling_thread import PollingThread
from tests.waiting import until


class Looker(PollingThread):
    def __init__(self) -> None:
        super().__init__("looker", 0.001)
        self.found: list[list[int]] = []

    def _look(self, executor: Executor) -> None:
        self.found.append(list(executor.map(abs, [-1, 2])))


def test_it_looks_until_it_is_stopped() -> None:
    looker = Looker()
    looker.start()
    until(lambda: len(looker.found) >= 3)
    looker.stop()
    assert not looker._thread.is_alive()
    assert all(found == [1, 2] for found in looker.found)

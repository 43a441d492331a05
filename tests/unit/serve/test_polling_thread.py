"""A thread that asks now and then, whatever those do whom it asks."""

from __future__ import annotations

import logging
import socket
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from types import SimpleNamespace

import pytest

from extproc.fetch.steps import Steps, get
from extproc.fetch.url import parse
from extproc.serve import polling_thread
from extproc.serve.polling_thread import PollingThread
from tests.hostile_server import HostileServer, dripping
from tests.waiting import until

WELL = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"


class Looker(PollingThread[str, int]):
    """Asks for pages, and notes their status; 0 where there is none."""

    def __init__(self, *urls: str, seconds: float = 30, interval: float = 0.001) -> None:
        self.errors: list[str] = []
        super().__init__("looker", interval, self.errors.append)
        self.urls, self.seconds = list(urls), seconds
        self.found: list[tuple[str, int]] = []

    def _items(self) -> Iterable[str]:
        return self.urls

    def _ask(self, item: str) -> Steps[int]:
        if item == "bug":
            raise LookupError("ask")
        try:
            answer = yield from get(parse(item), self.seconds, 100)
        except OSError:
            return 0
        return answer.status

    def _note(self, item: str, outcome: int) -> None:
        if item.endswith("/bug"):
            raise ArithmeticError("note")
        self.found.append((item, outcome))


@contextmanager
def looking(looker: Looker) -> Iterator[Looker]:
    looker.start()
    yield looker
    looker.stop()
    assert not looker._thread.is_alive()


def test_it_asks_all_until_it_is_stopped() -> None:
    with HostileServer(lambda: [WELL]) as one, HostileServer(lambda: [b""]) as other:
        with looking(Looker(one.url, other.url)) as looker:
            until(lambda: looker.found.count((one.url, 200)) >= 3 and looker.found.count((other.url, 0)) >= 3)
        assert not looker._open


def test_who_is_slow_holds_up_nobody_and_is_left_at_the_end() -> None:
    with HostileServer(lambda: [WELL]) as good, dripping() as slow:
        with looking(Looker(slow.url, good.url, f"{slow.url}/2")) as looker:
            until(lambda: slow.open == 2)
            until(lambda: looker.found.count((good.url, 200)) >= 5)
            assert slow.asked == 2
        until(lambda: not slow.open)


def test_more_than_may_be_open_take_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(polling_thread, "MAX_OPEN", 2)
    with HostileServer(lambda: [WELL]) as good, dripping() as slow:
        slow_ones = [f"{slow.url}/{n}" for n in range(5)]
        with looking(Looker(*slow_ones, good.url, seconds=0.02)) as looker:
            until(lambda: looker.found.count((good.url, 200)) >= 2)
            until(lambda: {url for url, _ in looker.found} == {*slow_ones, good.url})
            assert len(looker._open) <= 2


def test_what_is_asked_may_change() -> None:
    with (
        HostileServer(lambda: [WELL]) as one,
        HostileServer(lambda: [WELL]) as other,
        dripping() as slow,
        looking(Looker(one.url, slow.url)) as looker,
    ):
        until(lambda: looker.found and slow.open)
        looker.urls = [other.url]
        until(lambda: (other.url, 200) in looker.found)
        until(lambda: not slow.open)
        looker.urls = []
        until(lambda: not looker._known)
        looker.urls = [one.url]
        looker.found.clear()
        until(lambda: (one.url, 200) in looker.found)


def test_it_outlives_bugs(caplog: pytest.LogCaptureFixture) -> None:
    """Each is counted, and each kind logged once."""
    with HostileServer(lambda: [WELL]) as good, caplog.at_level(logging.ERROR):
        bad = f"{good.url}/bug"
        with looking(Looker("bug", bad, "http://[abc", good.url)) as looker:
            until(lambda: looker.found.count((good.url, 200)) >= 5 and len(looker.errors) >= 9)
            looker.urls = [["unhashable"]]  # type: ignore[list-item]
            known = len(looker.errors)
            until(lambda: len(looker.errors) > known + 3)
            looker.urls = [good.url]
            looker.found.clear()
            until(lambda: (good.url, 200) in looker.found)
    assert set(looker.errors) == {"internal"}
    logged = [record.exc_info[0] for record in caplog.records if record.exc_info]
    assert len(logged) == len(set(logged)) == 4
    assert all(record.message == "looker goes on after an error of ours" for record in caplog.records)


def test_it_outlives_a_lack_of_files(monkeypatch: pytest.MonkeyPatch) -> None:
    refused = []

    def none(*_: object, **__: object) -> socket.socket:
        refused.append(1)
        raise OSError(24, "Too many open files")

    with HostileServer(lambda: [WELL]) as good, looking(Looker(good.url)) as looker:
        until(lambda: looker.found)
        # Its own name of the module, not the module: the server needs sockets, too.
        monkeypatch.setattr("extproc.fetch.steps.socket", SimpleNamespace(**{**vars(socket), "socket": none}))
        until(lambda: len(refused) > 3)
        monkeypatch.setattr("extproc.fetch.steps.socket", socket)
        looker.found.clear()
        until(lambda: (good.url, 200) in looker.found)
    assert not looker.errors

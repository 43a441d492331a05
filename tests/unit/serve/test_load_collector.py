"""The collector, turn by turn: pages of real servers, good and bad, on a board."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from extproc.picking.board import Board, GpuSource, Page, Wanted
from extproc.picking.board_layout import (
    BEAT,
    CPU,
    FAILED,
    FAILURES,
    GPU,
    PICKED,
    PICKED_AT_REPORT,
    READ,
    REPORTED_AT,
    RUNNING,
    WAITING,
)
from extproc.policy.metrics_page import PageReader
from extproc.serve import load_collector, page_sources
from extproc.serve.load_collector import BURST, LoadCollector
from extproc.serve.page_sources import FULL_RATE_PAGE
from tests.hostile_server import CHUNKED, OK, HostileServer, dripping, flooding
from tests.page_server import PageServer, answer, page_of
from tests.unit.picking.boards import board
from tests.waiting import until


@contextmanager
def collecting(shared: Board, wanted: Mapping[str, Page | None]) -> Iterator[LoadCollector]:
    with collecting_wanted(shared, {address: Wanted(page) for address, page in wanted.items()}) as collector:
        yield collector


@contextmanager
def collecting_wanted(shared: Board, wanted: Mapping[str, Wanted]) -> Iterator[LoadCollector]:
    shared.claim(0, wanted)
    collector = LoadCollector(shared)
    yield collector
    collector.close()


def every(found: bytes, _: int) -> bytes:
    return found


def turn_until(collector: LoadCollector, condition: Callable[[], object], seconds: float = 15.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not come about"
        collector.turn()
        time.sleep(0.002)


def page(server: PageServer | HostileServer, kind: str = "vllm") -> Page:
    return Page(kind, server.url, 0.01)


def number(shared: Board, row: int, address: str) -> float:
    place = next(slot.number for slot in shared.slots() if slot.address == address)
    return float(shared.reports[row, place])


def failures(shared: Board) -> dict[str, int]:
    counts = zip(FAILURES, shared.numbers[FAILED:].tolist(), strict=True)
    return {reason: int(count) for reason, count in counts if count}


def test_pages_are_read_on_connections_that_are_kept() -> None:
    shared, began = board(), time.monotonic()
    with (
        PageServer(page_of) as server,
        collecting(shared, {"a:1": page(server), "b:1": None}) as collector,
    ):
        turn_until(collector, lambda: number(shared, WAITING, "a:1") >= 5)
        assert len(server.asked) == 1
        assert began < number(shared, REPORTED_AT, "a:1") < time.monotonic()
        assert np.isnan(number(shared, WAITING, "b:1"))
        assert shared.numbers[READ] >= 5
        assert began <= shared.numbers[BEAT]
        assert failures(shared) == {}
        assert shared._header[0] % 2 == 0


def test_a_report_tells_what_had_been_sent_when_it_was_asked_for() -> None:
    shared = board()
    with PageServer(lambda _: page_of(1)) as server, collecting(shared, {"a:1": page(server)}) as collector:
        place = shared.slots()[0].number
        shared.counts[:, PICKED, place] = 3, 4
        turn_until(collector, lambda: number(shared, PICKED_AT_REPORT, "a:1") == 7)
        shared.counts[1, PICKED, place] += 1
        turn_until(collector, lambda: number(shared, PICKED_AT_REPORT, "a:1") == 8)


def test_endpoints_come_and_go(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(load_collector, "_FOLLOW_INTERVAL", 0.01)
    shared = board()
    with ExitStack() as stack:
        first, second = (stack.enter_context(PageServer(partial(every, page_of(waiting)))) for waiting in (1, 2))
        with collecting(shared, {"a:1": page(first)}) as collector:
            turn_until(collector, lambda: number(shared, WAITING, "a:1") == 1)
            shared.claim(0, {"a:1": Wanted(page(second)), "b:1": Wanted(page(first))})
            turn_until(collector, lambda: number(shared, WAITING, "a:1") == 2 and number(shared, WAITING, "b:1") == 1)
            shared.claim(0, {})
            turn_until(collector, lambda: not collector._sources)
            turn_until(collector, lambda: not first._open | second._open)
            assert not collector._watched
            assert not collector._asking


def open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


BAD: dict[str, tuple[Callable[[], HostileServer], str]] = {
    "dripping": (dripping, "timeout"),
    "dripping a page": (lambda: dripping(b"HTTP/1.1 200 OK\r\ncontent-length: 99999\r\n\r\n"), "timeout"),
    "flooding": (lambda: flooding(OK, b"vllm:num_requests_waiting 1\n" * 1000), "http"),
    "flooding chunks": (lambda: flooding(CHUNKED, b"1\r\nx\r\n" * 1000), "http"),
    "negative chunk": (lambda: flooding(CHUNKED + b"-1\r\n", b"x" * 65536), "http"),
    "cut off": (lambda: HostileServer(lambda: [page_of(1)[:-5]]), "http"),
    "no page": (lambda: HostileServer(lambda: [answer(b"<html>")]), "metrics"),
    "too many series": (lambda: HostileServer(lambda: [answer(b"vllm:num_requests_waiting 1\n" * 30_000)]), "metrics"),
    "not found": (lambda: HostileServer(lambda: [answer(b"", "404 Not Found")]), "status"),
    "no HTTP": (lambda: HostileServer(lambda: [b"SSH-2.0-x\r\n"]), "http"),
}


def test_bad_pages_cost_the_good_ones_nothing(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """All of them at once, and a good one: that is read on, and none of the bad ones is held in memory."""
    monkeypatch.setattr(load_collector, "RETRY_INTERVAL", 0.1)
    monkeypatch.setattr(load_collector, "TIMEOUT", 0.5)
    shared, before = board(), open_files()
    with ExitStack() as stack:
        good = stack.enter_context(PageServer(page_of))
        bad = {name: stack.enter_context(make()) for name, (make, _) in BAD.items()}
        pages = {f"{name}:1": page(server) for name, server in bad.items()} | {"good:1": page(good)}
        pages["nobody:1"] = Page("vllm", "http://127.0.0.1:1/metrics", 0.01)
        pages["no url:1"] = Page("vllm", "http://[abc", 0.01)
        with collecting(shared, pages) as collector:
            turn_until(collector, lambda: min(server.asked for server in bad.values()) >= 2)
            turn_until(collector, lambda: number(shared, WAITING, "good:1") > 20)
            found = failures(shared)
        assert found.keys() == set(FAILURES)
        for reason in ("metrics", "status"):
            assert found[reason] >= 2
        assert good.asked[1:] == []
        for name in bad:
            assert number(shared, REPORTED_AT, f"{name}:1") == -np.inf
        for server in (bad["flooding"], bad["flooding chunks"], bad["negative chunk"]):
            assert server.sent / server.asked < 16 << 20  # what the kernel holds included
    assert caplog.text.count(bad["not found"].url) == 1
    until(lambda: open_files() <= before)


def test_a_server_that_comes_back_is_read_again(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    monkeypatch.setattr(load_collector, "RETRY_INTERVAL", 0.01)
    shared = board()
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    with collecting(shared, {"a:1": Page("vllm", f"http://127.0.0.1:{port}/metrics", 0.01)}) as collector:
        turn_until(collector, lambda: failures(shared).get("connect", 0) >= 2)
        with PageServer(lambda _: page_of(3, 4), port) as server:
            turn_until(collector, lambda: number(shared, RUNNING, "a:1") == 4)
            server.answers = lambda _: answer(b"", "500 No")
            turn_until(collector, lambda: failures(shared).get("status", 0) >= 2)
            server.answers = lambda _: page_of(5, 6)
            turn_until(collector, lambda: number(shared, RUNNING, "a:1") == 6)
    assert caplog.text.count("is not known") == caplog.text.count("tells its load again") == 2


def gpus(shared: Board) -> dict[str, float]:
    return {slot.address: float(shared.reports[GPU, slot.number]) for slot in shared.slots()}


def test_an_exporter_is_asked_once_for_all_endpoints_of_its_node(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(page_sources, "GPU_INTERVAL", 0.01)
    monkeypatch.setattr(load_collector, "_FOLLOW_INTERVAL", 0.01)
    shared = board()
    pods = {"a": 20, "b": 40}
    told = "".join(f'DCGM_FI_DEV_GPU_UTIL{{namespace="ai",pod="{pod}"}} {share}\n' for pod, share in pods.items())
    with PageServer(page_of) as server, PageServer(lambda _: answer(told.encode())) as exporter:
        wanted = {f"{pod}:1": Wanted(page(server), gpus=GpuSource(exporter.url, f"ai/{pod}")) for pod in "abc"}
        with collecting_wanted(shared, wanted | {"d:1": Wanted(gpus=GpuSource(exporter.url))}) as collector:
            turn_until(collector, lambda: gpus(shared)["d:1"] == 0.3)
            assert gpus(shared) == {"a:1": 0.2, "b:1": 0.4, "c:1": pytest.approx(np.nan, nan_ok=True), "d:1": 0.3}
            turn_until(collector, lambda: number(shared, WAITING, "a:1") >= 3)
            assert gpus(shared)["a:1"] == 0.2, "its own page says nothing of it"
            assert len(exporter.asked) == 1
            told = told.replace("20", "60")
            turn_until(collector, lambda: gpus(shared)["a:1"] == 0.6)
            shared.claim(0, {"e:1": Wanted(gpus=GpuSource(exporter.url, "ai/b"))})
            turn_until(collector, lambda: gpus(shared) == {"e:1": 0.4})
            assert len(exporter.asked) == 1
            shared.claim(0, {})
            turn_until(collector, lambda: not collector._sources)


def test_exporters_that_are_bad_cost_nobody_else_anything(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(load_collector, "RETRY_INTERVAL", 0.05)
    monkeypatch.setattr(load_collector, "TIMEOUT", 0.3)
    monkeypatch.setattr(page_sources, "GPU_INTERVAL", 0.01)
    shared = board()
    with ExitStack() as stack:
        server = stack.enter_context(PageServer(page_of))
        good = stack.enter_context(PageServer(lambda _: answer(b"DCGM_FI_DEV_GPU_UTIL 20\n")))
        bad = {name: stack.enter_context(make()) for name, (make, _) in BAD.items()}
        urls = {name: one.url for name, one in bad.items()} | {"nobody": "http://127.0.0.1:1/metrics", "none": "x:y"}
        wanted = {f"{name}:1": Wanted(page(server), gpus=GpuSource(url)) for name, url in urls.items()}
        wanted["good:1"] = Wanted(page(server), gpus=GpuSource(good.url))
        with collecting_wanted(shared, wanted) as collector:
            turn_until(collector, lambda: min(one.asked for one in bad.values()) >= 2)
            turn_until(collector, lambda: min(number(shared, WAITING, address) for address in wanted) > 20)
        known = {address for address, share in gpus(shared).items() if not np.isnan(share)}
        assert known == {"good:1"}
        assert failures(shared).keys() == set(FAILURES)
        assert len(server.asked) == len(wanted)


@pytest.mark.parametrize(("interval", "turn"), [(0.05, 0.01), (0.075, 0.015), (0.1, 0.02), (1.0, 0.02)])
def test_the_shortest_interval_says_how_often_it_awakes(interval: float, turn: float) -> None:
    pages = {"a:1": Page("vllm", "http://127.0.0.1:1/metrics", 1.0)}
    with collecting(board(), pages | {"b:1": Page("vllm", "http://127.0.0.1:1/metrics", interval)}) as collector:
        collector.turn()
        assert collector._turn == pytest.approx(turn)


def test_pages_are_asked_for_in_bursts_that_are_spread_over_the_interval() -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=512) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/metrics"
        pages = {f"a:{port}": Page("vllm", url, 1.0) for port in range(1, BURST * 5 // 2 + 1)}
        with collecting(board(), pages) as collector:
            collector.turn()
            asked = len(collector._asking)
            left = sorted(due for due, _, _ in collector._due)
    assert (asked, len(left)) == (BURST, BURST * 3 // 2)
    assert left[0] == left[BURST - 1]
    assert left[-1] - left[0] == pytest.approx(1 / 2.5)


def test_large_pages_are_read_seldom() -> None:
    shared = board()
    large = answer(b"vllm:num_requests_waiting 1\n" + b"# x\n" * (FULL_RATE_PAGE // 2))
    with PageServer(lambda _: large) as server, collecting(shared, {"a:1": page(server)}) as collector:
        turn_until(collector, lambda: shared.numbers[READ] == 1)
        due = collector._due[0][0] - number(shared, REPORTED_AT, "a:1")
        assert due >= 0.03 - 1e-9  # three parts of it, at 10 ms


def test_counts_go_on_where_another_collector_left_them() -> None:
    shared = board()
    shared.numbers[CPU], shared.numbers[READ] = 100.0, 50.0
    shared._header[0] = 3  # it was killed while it wrote
    with PageServer(lambda _: page_of(1)) as server, collecting(shared, {"a:1": page(server)}) as collector:
        turn_until(collector, lambda: shared.numbers[READ] > 51)
        assert 100 <= shared.numbers[CPU] < 200
        assert shared._header[0] % 2 == 0


def test_a_bug_is_one_page_s_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    shared, read = board(), PageReader.read

    def broken(self: PageReader, text: bytes) -> object:
        if b"waiting 1\n" in text:
            raise RuntimeError("planted")
        return read(self, text)

    monkeypatch.setattr(PageReader, "read", broken)
    with ExitStack() as stack:
        first, second = (stack.enter_context(PageServer(partial(every, page_of(waiting)))) for waiting in (1, 2))
        with collecting(shared, {"a:1": page(first), "b:1": page(second)}) as collector:
            turn_until(collector, lambda: failures(shared) and number(shared, WAITING, "b:1") == 2)


def test_the_log_has_some_lines_a_minute(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    shared = board()
    pages = {f"a:{port}": Page("vllm", "http://[abc", 0.01) for port in range(1, 100)}
    with collecting(shared, pages) as collector:
        collector.turn()
        assert len(caplog.records) == load_collector._MAX_LINES + 1
        assert "counts all" in caplog.records[-1].message
        monkeypatch.setattr(collector, "_minute", -1.0)
        collector._log(30, "another %s", "minute")
        assert caplog.records[-1].message == "another minute"

"""Loads of GPU pools, read from pages of real HTTP servers."""

from __future__ import annotations

import logging
import socket
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from time import perf_counter
from typing import Any

import pytest

from extproc.fetch.steps import run
from extproc.policy.gpu import Gpu
from extproc.policy.pool_load import PoolLoads, ServerLoad
from extproc.policy.snapshot import GpuPool, Snapshot
from extproc.serve import pool_feed
from extproc.serve.pool_feed import PoolFeed, _fetch_load, _Page
from extproc.telemetry.metrics import Metrics
from tests.hostile_server import CHUNKED, OK, dripping, flooding
from tests.waiting import until


class Page:
    """A server whose page a test may change; it notes the paths that are asked for."""

    def __init__(self) -> None:
        self.status, self.body = 200, b"vllm:num_requests_waiting 2\n"
        self.paths: list[str] = []
        page = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                page.paths.append(self.path)
                self.send_response(page.status)
                self.end_headers()
                self.wfile.write(page.body)

            def log_message(self, *_: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"
        Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()


@pytest.fixture
def page() -> Iterator[Page]:
    page = Page()
    yield page
    page.server.shutdown()
    page.server.server_close()


def load_of(url: str, kind: str = "vllm") -> ServerLoad | str:
    return run(_fetch_load(_Page("west", kind, url)))


def pool(url: str, name: str = "west", kind: str = "vllm") -> GpuPool:
    return GpuPool(name, Gpu(), metrics_type=kind, metrics_url=url)


@pytest.mark.parametrize(
    ("path", "asked"), [("", "/"), ("/metrics", "/metrics"), ("/a/b?format=text&x=1", "/a/b?format=text&x=1")]
)
def test_the_page_of_the_url_is_read(path: str, asked: str, page: Page) -> None:
    assert load_of(page.url + path) == ServerLoad(waiting=2.0)
    assert page.paths == [asked]


def test_what_is_no_page_of_loads_is_said(page: Page, monkeypatch: pytest.MonkeyPatch) -> None:
    assert load_of(page.url, kind="tgi") == "none of the metrics of tgi is on the page"
    page.status = 404
    assert load_of(page.url) == "status 404"
    page.status = 200
    page.body += b" " * pool_feed.MAX_PAGE
    assert load_of(page.url) == "the answer has more than 1024 KiB"


def test_a_server_that_is_not_there_or_does_not_answer_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool_feed, "TIMEOUT", 0.1)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/metrics"
        assert load_of(url) == "timed out"
    assert load_of(url) == "Connection refused"
    assert load_of("http://127.0.0.1:port") == "Port could not be cast to integer value as 'port'"
    assert load_of("http://[abc/metrics") == "Invalid IPv6 URL"


def test_pools_are_polled_and_one_that_fails_is_logged_once(page: Page, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    metrics, loads, pools = Metrics(), PoolLoads(), (pool(page.url), GpuPool("quiet", Gpu()))
    feed = PoolFeed(lambda: Snapshot(pools=pools), loads, metrics, interval=0.01)
    feed.start()
    try:
        until(lambda: loads.free_shares(perf_counter()).get("west") == pytest.approx(0.6))
        page.status = 500
        until(lambda: metrics._counters["extproc_errors"].get(("pool_metrics",), 0) > 2)
        page.status = 200
        until(lambda: "tells its load again" in caplog.text)
    finally:
        feed.stop()
    assert not feed._thread.is_alive()
    assert caplog.text.count("the load of the pool west is not known: status 500") == 1
    assert "quiet" not in loads.free_shares(perf_counter())


def test_gpus_have_a_page_of_their_own(page: Page) -> None:
    page.body = b'DCGM_FI_DEV_GPU_UTIL{gpu="0"} 30\nDCGM_FI_DEV_GPU_UTIL{gpu="1"} 50\n'
    assert load_of(page.url, "") == ServerLoad(gpu=0.4)
    loads, pools = PoolLoads(), (GpuPool("west", Gpu(), gpu_metrics_url=page.url),)
    feed = PoolFeed(lambda: Snapshot(pools=pools), loads, Metrics(), interval=0.01)
    feed.start()
    try:
        until(lambda: loads.numbers(perf_counter()).get("west", {}).get("gpu") == pytest.approx(0.4))
    finally:
        feed.stop()
    assert loads.free_shares(perf_counter()) == {}
    page.body = b"nothing 1\n"
    assert load_of(page.url, "") == "no utilization of GPUs is on the page"


def test_bad_pages_cost_the_good_ones_nothing(page: Page, monkeypatch: pytest.MonkeyPatch) -> None:
    """One drips, one has chunks of a negative size, one no end, one a URL that is none."""
    monkeypatch.setattr(pool_feed, "TIMEOUT", 60)
    with (
        dripping() as slow,
        flooding(CHUNKED + b"-1\r\n", b"x" * 65536) as lying,
        flooding(OK, b"vllm:num_requests_waiting 1\n" * 1000) as huge,
    ):
        urls = {"slow": slow.url, "lying": lying.url, "huge": huge.url, "none": "http://[abc", "good": page.url}
        pools, loads, metrics = tuple(pool(url, name) for name, url in urls.items()), PoolLoads(), Metrics()
        feed = PoolFeed(lambda: Snapshot(pools=pools), loads, metrics, interval=0.01)
        feed.start()
        try:
            until(lambda: len(page.paths) >= 10 and min(lying.asked, huge.asked) >= 2)
            assert slow.asked == 1
        finally:
            feed.stop()
        assert not feed._thread.is_alive()
        until(lambda: not slow.open + lying.open + huge.open)
        assert max(lying.sent / lying.asked, huge.sent / huge.asked) < 16 << 20  # what the kernel holds included
        assert loads.free_shares(perf_counter()).keys() == {"good"}

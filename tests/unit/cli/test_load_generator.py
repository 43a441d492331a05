"""The load generator: what it counts, and that a stall is seen by all whom it delays."""

from __future__ import annotations

import asyncio
import json
import socket
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import pytest

from extproc.cli.load_generator import Plan, Sample, closed_loop, measure, open_loop, summary
from extproc.errors import SetupError


def stalling(seconds: float) -> object:
    """A server that answers one request at a time, at once, but for the first, which takes a while."""
    turn = asyncio.Lock()
    pending = [seconds]

    async def ask(due: float) -> Sample:
        async with turn:
            if pending:
                await asyncio.sleep(pending.pop())
        return Sample("200", 0.0, time.perf_counter() - due, None)

    return ask


def test_a_stall_is_seen_by_every_request_that_was_due_meanwhile() -> None:
    samples = asyncio.run(open_loop(stalling(0.3), 100, 0.6))  # type: ignore[arg-type]
    assert len(samples) == 60
    delayed = [s for s in samples if s.total > 0.05]
    assert len(delayed) >= 20  # due within the 0.3 s, but for those near its end
    assert max(s.total for s in samples) >= 0.3


def test_a_closed_loop_asks_on_every_connection_until_time_is_up() -> None:
    open_now, most = 0, 0

    async def ask(due: float) -> Sample:
        nonlocal open_now, most
        open_now += 1
        most = max(most, open_now)
        await asyncio.sleep(0.005)
        open_now -= 1
        return Sample("200", 0.0, time.perf_counter() - due, None)

    samples = asyncio.run(closed_loop(ask, 8, 0.1))
    assert most == 8
    assert len(samples) >= 16


def test_summary() -> None:
    samples = [Sample("200", n / 1000, n / 500, 0.002) for n in range(1, 101)]
    samples += [Sample("503", 9, 9, None), Sample("TimeoutError", 9, 9, None)]
    found = summary(samples, 2)
    assert found["requests"] == 102
    assert found["per_second"] == 51
    assert found["outcomes"] == {"200": 100, "503": 1, "TimeoutError": 1}
    assert found["first_byte_ms"] == {"p50": 50.5, "p90": 90.1, "p99": 99.01, "max": 100.0}
    assert found["route_ms"]["p99"] == 2.0
    assert summary([], 1)["total_ms"] is None


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    status = 200

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["content-length"]))
        self.send_response(self.status if self.headers.get("x-fail") is None else 503)
        self.send_header("server-timing", "route;dur=1.5, upstream;dur=2, total;dur=3")
        self.send_header("content-length", "2")
        self.end_headers()
        self.wfile.write(b"ok")

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def url() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()


@pytest.mark.parametrize("rate", [0.0, 200.0])
def test_two_addresses_in_turns(rate: float, url: str, capsys: pytest.CaptureFixture[str]) -> None:
    other = url + "/"
    plan = Plan((url, other), "/v1/chat/completions", b"{}", rate=rate, connections=4, seconds=0.3)
    assert measure(plan, as_json=True) == 0
    found = json.loads(capsys.readouterr().out)
    assert list(found) == [url, other]
    for one in found.values():
        assert one["outcomes"] == {"200": one["requests"]}
        assert one["route_ms"]["p50"] == 1.5
    if rate:
        assert found[url]["requests"] == 60


def test_failures_are_told(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    plan = Plan((url,), "/", b"{}", (("x-fail", "1"),), connections=2, seconds=0.1)
    assert measure(plan, as_json=False) == 1
    assert "x 503" in capsys.readouterr().out


def test_an_address_that_does_not_answer_is_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with pytest.raises(SetupError, match=f"cannot reach 127.0.0.1:{port}"):
        measure(Plan((f"http://127.0.0.1:{port}",), "/", b"{}", seconds=0.1), as_json=True)

"""The open loop: every request leaves when it is due, is timed from then, and is accounted for."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Iterator

import pytest

from benchmarks.mesh import openloop
from benchmarks.mesh.openloop import Target, drive, post
from benchmarks.mesh.slow import EVENTS, GAP

REQUEST = post("/v1/chat/completions", ["x-user-id: ann"], b'{"model":"m"}')


class Server(asyncio.Protocol):
    """Answers at once, but for the third request: that one and all behind it wait."""

    asked: int
    stall: float

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        assert data == REQUEST
        Server.asked += 1
        if Server.asked == 5:
            self.transport.abort()
            return
        delay = Server.stall if Server.asked == 3 else 0.0
        answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
        asyncio.get_running_loop().call_later(delay, self.transport.write, answer)


def test_a_stall_is_seen_and_a_lost_connection_told() -> None:
    Server.asked, Server.stall = 0, 0.2

    async def run() -> Target:
        server = await asyncio.get_running_loop().create_server(Server, "127.0.0.1", 0)
        async with server:
            target = Target(f"127.0.0.1:{server.sockets[0].getsockname()[1]}", REQUEST)
            await drive([target], 100, 20)
        return target

    report = asyncio.run(run()).report()
    assert report["requests"] == 20
    assert report["outcomes"] == {"200": 19, "connection lost": 1}
    assert report["max"] >= 200
    assert report["slow"] >= 1
    when, took = next(one for one in report["slowest"] if one[1] >= 200)
    assert (when, took) == (pytest.approx(0.02), pytest.approx(report["max"], abs=0.1))


def test_where_nobody_listens_every_request_fails() -> None:
    target = Target("127.0.0.1:1", REQUEST)
    asyncio.run(drive([target], 1000, 5))
    assert (target.outcomes, target.pending) == ({"ConnectionRefusedError": 5}, 0)


@pytest.fixture
def streaming() -> Iterator[str]:
    """The address of the streaming model server."""
    command = [sys.executable, "-m", "benchmarks.mesh.slow"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        yield f"127.0.0.1:{int(server.stdout.readline())}"
        server.terminate()


def test_a_streamed_answer_is_taken_to_its_end(streaming: str) -> None:
    targets = [Target(streaming, REQUEST), Target(streaming, REQUEST)]
    asyncio.run(drive(targets, 50, 5))
    for target in targets:
        assert target.outcomes == {"200": 5}
        assert min(target.seconds) >= EVENTS * GAP


def test_a_whole_answer_takes_as_long(streaming: str) -> None:
    target = Target(streaming, post("/x", ["x-answer: whole"], b"{}"))
    asyncio.run(drive([target], 50, 3))
    assert target.outcomes == {"200": 3}
    assert min(target.seconds) >= EVENTS * GAP


def test_the_command_prints_one_document(streaming: str) -> None:
    command = [sys.executable, "-m", openloop.__name__, streaming, "--path", "/x", "--rate", "100", "--count", "3"]
    out = subprocess.run(command, input=b"{}", capture_output=True, check=True)
    assert b'"unanswered": 0' in out.stdout
    assert b'"outcomes": {"200": 3}' in out.stdout

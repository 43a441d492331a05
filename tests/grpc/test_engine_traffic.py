"""The engine under many streams and many messages, and with clients that vanish."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import grpc
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from extproc.grpc_server import ENGINES, Name, Settings
from tests.grpc.echo import ECHO, Echo, Feed
from tests.grpc.running import running
from tests.waiting import until


@pytest.fixture
def log() -> list[str]:
    return []


@pytest.fixture(params=ENGINES)
def engine(request: pytest.FixtureRequest) -> Any:
    return request.param


@pytest.fixture
def echo(log: list[str], engine: Name) -> Iterator[Any]:
    with running({ECHO: lambda send: Echo(send, log)}, engine=engine) as server:
        yield server


def test_two_thousand_streams_at_once(echo: Any, log: list[str]) -> None:
    """Opened in one burst; none is refused, and one more is served as if they were not there."""

    async def main() -> None:
        async with grpc.aio.insecure_channel(echo.address) as channel:
            calls = [channel.stream_stream(ECHO)() for _ in range(2000)]
            await asyncio.gather(*(call.write(b"a") for call in calls))
            assert set(await asyncio.gather(*(call.read() for call in calls))) == {b"a"}
            assert list(echo.open(ECHO)(iter([b"b"]))) == [b"b"]
            until(lambda: log == ["closed"])
            for call in calls:
                call.cancel()

    asyncio.run(main())
    until(lambda: len(log) == 2001)


def test_stopping_in_the_midst_of_traffic_harms_nothing(engine: Name, log: list[str]) -> None:
    """Every stream is closed once, whatever was still under way on it."""
    for _ in range(8):
        with running({ECHO: lambda send: Echo(send, log)}, engine=engine) as server:
            feeds = [Feed() for _ in range(40)]
            calls = [server.open(ECHO)(iter(feed)) for feed in feeds]
            for feed in feeds:
                feed.send(b"a")
            assert [next(call) for call in calls] == [b"a"] * len(calls)
            for feed in feeds:
                for _ in range(5):
                    feed.send(b"a")
            server.engine.stop(0)
            server.thread.join(10)
            assert not server.thread.is_alive()
            for feed in feeds:
                feed.half_close()
    assert log == ["closed"] * 8 * 40


@pytest.mark.parametrize("engine", ENGINES)
@settings(max_examples=15)
@given(st.lists(st.sampled_from([b"a", b"nothing", b"twice:1", b"big"]), max_size=6), st.sampled_from([b"end", b""]))
def test_every_message_is_answered(engine: Name, messages: list[bytes], last: bytes) -> None:
    log: list[str] = []
    replies = {b"nothing": [], b"twice:1": [b"twice:1"] * 2, b"big": [b"%d" % n * (1 << 20) for n in range(4)]}
    asked = [*messages, *([last] if last else [])]
    with running({ECHO: lambda send: Echo(send, log)}, engine=engine) as server:
        got = list(server.open(ECHO)(iter(asked)))
        until(lambda: log == ["closed"])
    assert got == [reply for message in asked for reply in replies.get(message, [message])]


def test_a_client_that_has_its_answer_goes_away(engine: Name, log: list[str]) -> None:
    with running({ECHO: lambda send: Echo(send, log)}, engine=engine) as server:
        for leave in ("cancel", "half_close"):
            feed = Feed()
            call = server.open(ECHO)(iter(feed))
            feed.send(b"a")
            assert next(call) == b"a"
            if leave == "cancel":
                call.cancel()
            feed.half_close()
            until(lambda: log == ["closed"])
            log.clear()


_VANISHING = """
import sys, grpc, queue
call = grpc.insecure_channel(sys.argv[1]).stream_stream(sys.argv[2])(iter(queue.SimpleQueue().get, None))
print("open", flush=True)
next(call)
"""


def test_a_client_that_vanishes_is_found_out(engine: Name) -> None:
    """Its kernel still takes what it is sent, as a dead host's does not tell: only signs of life tell."""
    opened: list[Echo] = []
    log: list[str] = []

    def factory(send: Any) -> Echo:
        opened.append(Echo(send, log))
        return opened[-1]

    patience = Settings(keepalive=1, keepalive_timeout=1)
    with running({ECHO: factory}, engine=engine, settings=patience) as server:
        command = [sys.executable, "-c", _VANISHING, server.address, ECHO]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as client:
            assert client.stdout is not None
            assert client.stdout.readline() == "open\n"
            until(lambda: opened)
            os.kill(client.pid, signal.SIGSTOP)
            until(lambda: log == ["closed"])
            client.kill()

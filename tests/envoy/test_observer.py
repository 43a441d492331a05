"""What befalls the observer is nothing to clients: killed, started again, frozen, overloaded, behind a real Envoy.

Sizes are those of `make test-overload` or, by default, smaller ones.
"""

from __future__ import annotations

import asyncio
import os
import signal
import statistics
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path
from threading import Event, Thread
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from extproc.gateway.envoy_process import Envoy
from extproc.policyfile import loader
from extproc.render.envoy.bootstrap import EnvoyOptions, bootstrap
from extproc.render.envoy.clusters import CONNECTION_KEEPALIVE
from tests.grpc.served import Served
from tests.waiting import until

from .test_timing import POLICY

pytestmark = pytest.mark.envoy

MEGABYTES = int(os.environ.get("EXTPROC_TEST_MEGABYTES", "80"))
"""Of one answer: more than Envoy keeps for an observer that does not read."""
TRIES = 5
"""Of two measurements beside each other: a busy machine may spoil some."""
STREAMS = int(os.environ.get("EXTPROC_TEST_STREAMS", "60"))
SLOW = 0.02
"""Seconds that the slowed observer takes for each message: a thousand times as long as it does."""
CHUNKS, GAP = 8, 0.08
TOKEN = b'data: {"choices":[{"delta":{"content":"%.6f"}}]}\n\n'
DONE = b"data: [DONE]\n\n"
BLOCK = (TOKEN % 0) * ((1 << 20) // len(TOKEN % 0))
SLOWED = """\
import time
import extproc.serve.servicer as servicer

decode = servicer.decode

def slow(message):
    found = decode(message)
    if found[1]:
        time.sleep({seconds})
    return found

servicer.decode = slow
"""
"""Imported by every Python that starts: the processor's part that reads messages dawdles over the observer's."""


class Serving:
    """A processor that can be killed, started again, and slowed."""

    def __init__(self, directory: Path, upstream: str) -> None:
        self._directory = directory
        self.policy = directory / "policy.yaml"
        self.policy.write_text(POLICY.replace("UPSTREAM", upstream))
        self.address = f"unix://{directory / 'processor.sock'}"
        self.now = self.start()

    def start(self) -> Served:
        self.now = Served(self.policy, listen=self.address).ready()
        return self.now

    def kill(self) -> None:
        self.now.__exit__()

    def envoy(self, stack: ExitStack, *, observe: bool) -> Envoy:
        directory = self._directory / f"envoy-{observe}"
        directory.mkdir()
        options = EnvoyOptions(
            listen="127.0.0.1:0", admin="127.0.0.1:0", processors=(self.address,), access_log="", observe=observe
        )
        started = stack.enter_context(Envoy(bootstrap(loader.load([self.policy]).snapshot, options), directory))
        started.wait_ready()
        return started

    def counted(self) -> float:
        return self.now.metric(
            'inference_requests_total{api="openai",code="200",gpu_pool="none",model="*",version="v1"}'
        )

    def timed(self) -> float:
        """Answers whose first token the observer has seen. Envoy's access log counts requests, and may bring some of
        before a restart later.
        """
        return self.now.metric('inference_time_to_first_token_seconds_count{gpu_pool="none",model="*",version="v1"}')

    def shed(self) -> float:
        return self.now.metric('extproc_errors_total{reason="observer_overload"}')


async def trickle(request: web.Request) -> web.StreamResponse:
    """Each chunk holds the time at which it was sent."""
    response = web.StreamResponse(headers={"content-type": "text/event-stream"})
    await response.prepare(request)
    begun = time.perf_counter()
    for n in range(CHUNKS):
        await asyncio.sleep(max(0.0, begun + n * GAP - time.perf_counter()))
        await response.write(TOKEN % time.perf_counter())
    await response.write(DONE)
    return response


async def blast(request: web.Request) -> web.StreamResponse:
    """As fast as it can be sent."""
    response = web.StreamResponse(headers={"content-type": "text/event-stream"})
    await response.prepare(request)
    for _ in range(MEGABYTES):
        await response.write(BLOCK)
    await response.write(DONE)
    return response


@asynccontextmanager
async def upstream() -> AsyncIterator[str]:
    app = web.Application()
    app.add_routes([web.post("/v1/chat/completions", trickle), web.post("/v1/completions", blast)])
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.5)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield f"127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


@pytest.fixture
def model_server() -> Iterator[str]:
    """Its address; it runs in a thread of its own."""
    ready, loop, stopping = Event(), asyncio.new_event_loop(), asyncio.Event()
    found: list[str] = []

    async def run() -> None:
        async with upstream() as address:
            found.append(address)
            ready.set()
            await stopping.wait()

    thread = Thread(target=lambda: loop.run_until_complete(run()), daemon=True)
    thread.start()
    assert ready.wait(10)
    yield found[0]
    loop.call_soon_threadsafe(stopping.set)
    thread.join(10)
    loop.close()


@pytest.fixture
def serving(model_server: str, tmp_path: Path) -> Iterator[Serving]:
    started = Serving(tmp_path, model_server)
    yield started
    started.kill()


@pytest.fixture
def slowed(model_server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Serving]:
    (tmp_path / "sitecustomize.py").write_text(SLOWED.format(seconds=SLOW))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    started = Serving(tmp_path, model_server)
    monkeypatch.delenv("PYTHONPATH")
    yield started
    started.kill()


class Seen:
    """What a client saw of streams: how late each chunk was, and what went wrong."""

    def __init__(self) -> None:
        self.late: list[float] = []
        self.complete = 0

    async def stream(self, session: aiohttp.ClientSession, address: str) -> None:
        async with session.post(f"http://{address}/v1/chat/completions", json={"model": "m", "stream": True}) as found:
            assert found.status == 200
            async for line in found.content:
                if b"content" in line:
                    sent = float(line.split(b'"content":"')[1].partition(b'"')[0])
                    self.late.append(time.perf_counter() - sent)
            self.complete += line == b"\n"

    @property
    def middle(self) -> float:
        return statistics.median(self.late)


async def streams(address: str, count: int, meanwhile: Callable[[], None] = lambda: None) -> Seen:
    """``meanwhile`` is called in a thread once the streams have begun."""
    seen = Seen()
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session, asyncio.TaskGroup() as group:
        for _ in range(count):
            group.create_task(seen.stream(session, address))
        while len(seen.late) < count:
            await asyncio.sleep(0.01)
        await asyncio.to_thread(meanwhile)
    assert seen.complete == count
    assert len(seen.late) == count * CHUNKS
    return seen


async def download(address: str, meanwhile: Callable[[], None] = lambda: None) -> float:
    """Seconds for the big answer; ``meanwhile`` is called once it has begun."""
    begun, size = time.perf_counter(), 0
    async with (
        aiohttp.ClientSession() as session,
        session.post(f"http://{address}/v1/completions", json={"model": "m", "stream": True}) as found,
    ):
        async for piece in found.content.iter_any():
            if not size:
                meanwhile()
            size += len(piece)
    assert size == MEGABYTES * len(BLOCK) + len(DONE)
    return time.perf_counter() - begun


def resident(process: Any) -> float:
    """MiB."""
    status = Path(f"/proc/{process.pid}/status").read_text()
    return int(status.partition("VmRSS:")[2].split()[0]) / 1024


class Memory:
    """The most that processes hold while this runs, over what they held before."""

    def __init__(self, *processes: Any) -> None:
        self._processes = processes
        self._before = [resident(one) for one in processes]
        self._most = list(self._before)
        self._ended = Event()
        self._thread = Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Memory:
        self._thread.start()
        return self

    def _watch(self) -> None:
        while not self._ended.wait(0.01):
            self._most = [max(most, resident(one)) for most, one in zip(self._most, self._processes, strict=True)]

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    @property
    def grown(self) -> list[float]:
        return [most - before for most, before in zip(self._most, self._before, strict=True)]


def test_killed_and_started_again(serving: Serving) -> None:
    with ExitStack() as stack:
        envoy = serving.envoy(stack, observe=True)
        undisturbed = asyncio.run(streams(envoy.listen_address, 5))
        until(lambda: serving.timed() == 5)

        seen = asyncio.run(streams(envoy.listen_address, 5, serving.kill))
        assert seen.middle < undisturbed.middle + 0.02
        dead = asyncio.run(streams(envoy.listen_address, 5))
        assert dead.middle < undisturbed.middle + 0.02

        serving.start()

        def noticed() -> bool:
            asyncio.run(streams(envoy.listen_address, 1))
            until(lambda: serving.now.metric("extproc_streams") == 0)
            return serving.timed() > 0

        until(noticed, 30)  # Envoy's workers use it a while after its statistics say that it is healthy
        timed = serving.timed()
        asyncio.run(streams(envoy.listen_address, 5))
        until(lambda: serving.timed() == timed + 5)


def test_a_big_answer_does_not_wait_for_a_slow_observer(slowed: Serving) -> None:
    with ExitStack() as stack:
        without, observed = (slowed.envoy(stack, observe=observe) for observe in (False, True))
        asyncio.run(download(without.listen_address))
        plain = [asyncio.run(download(without.listen_address)) for _ in range(3)]
        with Memory(observed.child.process, slowed.now.process) as memory:
            watched = [asyncio.run(download(observed.listen_address)) for _ in range(3)]
        until(lambda: slowed.shed() == 3)
        print(f"{MEGABYTES} MiB: {plain} without, {watched} with the observer; {memory.grown} MiB more")
        # Read to its end the answer would take this observer the time of as many messages as it has MiB.
        assert statistics.median(watched) < statistics.median(plain) + MEGABYTES * SLOW / 2
        assert memory.grown[0] < 64
        assert memory.grown[1] < 64


def test_a_frozen_observer_lets_go_of_a_big_answer(serving: Serving, monkeypatch: pytest.MonkeyPatch) -> None:
    """As one does whose node is gone without a word. It can't close its stream: Envoy must."""
    for name in CONNECTION_KEEPALIVE:
        monkeypatch.setitem(CONNECTION_KEEPALIVE, name, "0.5s")
    with ExitStack() as stack:
        envoy = serving.envoy(stack, observe=True)
        asyncio.run(download(envoy.listen_address))
        took = asyncio.run(download(envoy.listen_address, lambda: serving.now.signal(signal.SIGSTOP)))
        assert took < 10
        serving.now.signal(signal.SIGCONT)


def test_many_streams_do_not_wait_for_a_slow_observer(slowed: Serving) -> None:
    with ExitStack() as stack:
        without, observed = (slowed.envoy(stack, observe=observe) for observe in (False, True))
        plain = asyncio.run(streams(without.listen_address, STREAMS))
        with Memory(observed.child.process, slowed.now.process) as memory:
            watched = asyncio.run(streams(observed.listen_address, STREAMS))

        def noticed() -> bool:
            """An exchange is counted, and nothing else is."""
            counted = slowed.counted()
            asyncio.run(streams(observed.listen_address, 1))
            until(lambda: slowed.now.metric("extproc_streams") == 0)
            return slowed.counted() == counted + 1

        # So far behind, it misses some that Envoy has given up; then it is as before.
        until(noticed, 30)
        print(f"{STREAMS} streams: a chunk takes {plain.middle * 1000:.1f} ms, {watched.middle * 1000:.1f} ms observed")
        print(f"{slowed.shed():g} left alone; {memory.grown} MiB more")
        assert slowed.shed() > STREAMS / 4
        # What a held-up client would wait is there every time; a busy machine's moment is not.
        for _ in range(TRIES):
            if watched.middle < plain.middle + 0.02:
                break
            plain = asyncio.run(streams(without.listen_address, STREAMS))
            watched = asyncio.run(streams(observed.listen_address, STREAMS))
        assert watched.middle < plain.middle + 0.02
        assert memory.grown[0] < 64
        assert memory.grown[1] < 64

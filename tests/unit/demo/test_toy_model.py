"""The toy model server: its version in each answer, nothing kept, a port that is taken."""

from __future__ import annotations

import asyncio
import json
import signal
import socket
import subprocess
import sys
from urllib.request import Request, urlopen

import aiohttp
import pytest

from extproc.demo.toy_model import Faults, ToyModel, serve
from extproc.errors import SetupError
from extproc.policy.metrics_page import PageLoad, read_page

ASKED = {"model": "m", "messages": [{"role": "user", "content": "x"}], "max_tokens": 3}


def ask(endpoint: str) -> str:
    with urlopen(Request(f"http://{endpoint}/v1/chat/completions", json.dumps(ASKED).encode())) as answer:
        return str(json.load(answer)["choices"][0]["message"]["content"])


def test_an_answer_begins_with_the_version_and_nothing_is_kept() -> None:
    async def run() -> tuple[str, ToyModel]:
        async with ToyModel(["m"], "v7").running() as server:
            assert isinstance(server, ToyModel)
            return await asyncio.to_thread(ask, server.endpoint), server

    said, server = asyncio.run(run())
    assert said.startswith("[v7] ")
    assert len(said.split()) == 4, "as many words as the request allows, the first with the version"
    assert (server.received, server.usages) == ([], [])


@pytest.mark.parametrize("stream", [False, True])
def test_what_is_wrong_with_it_can_be_chosen(stream: bool) -> None:
    async def run(faults: Faults) -> tuple[int, str]:
        async with ToyModel(["m"], "v7", faults).running() as server, aiohttp.ClientSession() as session:
            asked = session.post(f"http://{server.endpoint}/v1/chat/completions", json={**ASKED, "stream": stream})
            async with asked as answer:
                return answer.status, await answer.text()

    status, said = asyncio.run(run(Faults(fail_ratio=1.0)))
    assert (status, json.loads(said)["error"]["type"]) == (500, "server_error")
    status, said = asyncio.run(run(Faults(empty=True)))
    assert (status, "[v7]" in said) == (200, False)


def test_the_first_token_can_be_late() -> None:
    assert ToyModel(["m"], "v7", Faults(delay=2.0)).pace.first_token > 2.0


def test_its_page_tells_what_it_does() -> None:
    """One slot: the second request waits, and reads nothing of a prompt that the first one had."""
    asyncio.run(_page_tells())


async def _page_tells() -> None:
    go_on, thought = asyncio.Semaphore(0), list[float]()
    prompt = {"role": "user", "content": "y" * 20_000}

    async def think(seconds: float) -> None:
        thought.append(seconds)
        await go_on.acquire()

    async with ToyModel(["m"], "v7", slots=1).running() as server, aiohttp.ClientSession() as session:
        server.think = think  # type: ignore[method-assign]
        asked = {**ASKED, "messages": [prompt], "stream": True, "max_tokens": 1}

        async def ask_it() -> int:
            async with session.post(f"http://{server.endpoint}/v1/chat/completions", json=asked) as answer:
                await answer.read()
                return answer.status

        async def load() -> PageLoad:
            async with session.get(f"http://{server.endpoint}/metrics") as answer:
                assert answer.content_type == "text/plain"
                return read_page("vllm", await answer.read())

        both = [asyncio.create_task(ask_it()) for _ in range(2)]
        found = await load()
        while found.waiting != 1:
            found = await load()
        assert (found.running, found.block_size, found.adapters, found.loading) == (1, 16, frozenset(), frozenset())
        assert found.cache == pytest.approx(20_000 / (256 << 10), abs=0.001)
        for _ in both:
            go_on.release()
        assert await asyncio.gather(*both) == [200, 200]
        found = await load()
        assert (found.waiting, found.running, found.cache) == (0, 0, 0)
    assert thought == [pytest.approx(1.06, abs=0.005), pytest.approx(0.06, abs=0.005)]


@pytest.mark.parametrize("stream", [False, True])
def test_who_has_left_keeps_no_slot_and_no_place(stream: bool) -> None:
    asyncio.run(_left(stream=stream))


async def _left(*, stream: bool) -> None:
    thinks = asyncio.Semaphore(0)

    async def think(seconds: float) -> None:
        thinks.release()
        await asyncio.Event().wait()

    async with ToyModel(["m"], "v7", slots=1).running() as server, aiohttp.ClientSession() as session:
        server.think = think  # type: ignore[method-assign]

        async def ask_it() -> None:
            url = f"http://{server.endpoint}/v1/chat/completions"
            async with session.post(url, json={**ASKED, "stream": stream}) as answer:
                await answer.read()

        async def is_told(running: int, waiting: int) -> None:
            found = None
            async with asyncio.timeout(30):
                while found is None or (found.running, found.waiting) != (running, waiting):
                    async with session.get(f"http://{server.endpoint}/metrics") as answer:
                        found = read_page("vllm", await answer.read())

        asked = [asyncio.create_task(ask_it()) for _ in range(3)]
        await thinks.acquire()
        await is_told(1, 2)
        for one in asked:
            one.cancel()
        await is_told(0, 0)


def test_a_port_that_is_taken() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(
            SetupError,
            match=rf"cannot listen on 127.0.0.1:{port} \(--port\): Address already in use; .+ with --port",
        ):
            serve(port, "v1", ["m"], Faults(), 1)


def test_it_serves_until_a_signal() -> None:
    command = [sys.executable, "-m", "extproc", "demo-model", "--port", "0", "--version", "v2", "--model", "m"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        endpoint = process.stderr.readline().split("http://")[1].split(",")[0]
        assert f'endpoints: ["{endpoint}"]' in process.stderr.readline()
        assert ask(endpoint).startswith("[v2] ")
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0

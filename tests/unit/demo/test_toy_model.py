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


def test_a_port_that_is_taken() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(
            SetupError,
            match=rf"cannot listen on 127.0.0.1:{port} \(--port\): Address already in use; .+ with --port",
        ):
            serve(port, "v1", ["m"], Faults())


def test_it_serves_until_a_signal() -> None:
    command = [sys.executable, "-m", "extproc", "demo-model", "--port", "0", "--version", "v2", "--model", "m"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        endpoint = process.stderr.readline().split("http://")[1].split(",")[0]
        assert f'endpoints: ["{endpoint}"]' in process.stderr.readline()
        assert ask(endpoint).startswith("[v2] ")
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0

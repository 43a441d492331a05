"""The demo's model servers against a real client: what they send is what the real ones send."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

import aiohttp
import pytest

from extproc.demo.model_servers import ModelServer, OipServer, OpenAIServer, Pace

CHAT = {"model": "m", "messages": [{"role": "user", "content": "three words here"}]}


def talk(server: ModelServer, conversation: Callable[[aiohttp.ClientSession, str], Awaitable[None]]) -> None:
    async def main() -> None:
        async with server.running(), aiohttp.ClientSession() as session:
            await conversation(session, f"http://{server.endpoint}")

    asyncio.run(main())


def events(raw: bytes) -> list[Any]:
    blocks = raw.decode().split("\n\n")
    assert blocks.pop() == "", "the last event is complete"
    assert all(b.startswith("data: ") for b in blocks)
    assert blocks.pop() == "data: [DONE]"
    return [json.loads(b.removeprefix("data: ")) for b in blocks]


def test_stream_starts_with_the_role_alone_and_ends_with_usage() -> None:
    async def conversation(session: aiohttp.ClientSession, url: str) -> None:
        ask = {**CHAT, "stream": True, "stream_options": {"include_usage": True}, "max_tokens": 5}
        async with session.post(f"{url}/v1/chat/completions", json=ask) as response:
            assert response.status == 200
            assert response.content_type == "text/event-stream"
            found = events(await response.read())
        *chunks, last = found
        deltas = [c["choices"][0]["delta"] for c in chunks]
        assert deltas[0] == {"role": "assistant", "content": ""}
        assert [d["content"] for d in deltas[1:-1]] == ["The", " mesh", " now", " knows", " which"]
        assert deltas[-1] == {}
        assert [c["choices"][0]["finish_reason"] for c in chunks] == [None] * 6 + ["stop"]
        assert all(c["usage"] is None for c in chunks)
        assert last["choices"] == []
        assert last["usage"]["completion_tokens"] == 5
        assert last["usage"]["total_tokens"] == last["usage"]["prompt_tokens"] + 5
        assert len({c["id"] for c in found}) == 1
        assert {c["object"] for c in found} == {"chat.completion.chunk"}

    talk(OpenAIServer(["m"]), conversation)


def test_stream_has_no_usage_unless_asked() -> None:
    async def conversation(session: aiohttp.ClientSession, url: str) -> None:
        async with session.post(f"{url}/v1/chat/completions", json={**CHAT, "stream": True}) as response:
            found = events(await response.read())
        assert all("usage" not in c and c["choices"] for c in found)

    talk(OpenAIServer(["m"]), conversation)


class Gated(OpenAIServer):
    """Thinks until it is told to go on; keeps for how long it meant to."""

    def __init__(self) -> None:
        super().__init__(["m"], Pace(first_token=0.5, per_token=0.1))
        self.gate = asyncio.Semaphore(0)
        self.thoughts: list[float] = []

    async def think(self, seconds: float) -> None:
        self.thoughts.append(seconds)
        await self.gate.acquire()


def test_the_role_comes_before_the_think_time_and_each_token_after_its_own() -> None:
    server = Gated()

    async def conversation(session: aiohttp.ClientSession, url: str) -> None:
        ask = {**CHAT, "stream": True, "max_tokens": 3}
        async with session.post(f"{url}/v1/chat/completions", json=ask) as response:
            for content in ("", "The", " mesh", " now"):
                line = await response.content.readline()
                assert json.loads(line.removeprefix(b"data: "))["choices"][0]["delta"]["content"] == content
                assert await response.content.readline() == b"\n"
                server.gate.release()
            assert b"[DONE]" in await response.read()

    talk(server, conversation)
    assert server.thoughts == [0.5, 0.1, 0.1]


def test_a_client_that_leaves_is_no_news(caplog: pytest.LogCaptureFixture) -> None:
    server = Gated()

    async def conversation(session: aiohttp.ClientSession, url: str) -> None:
        async with session.post(f"{url}/v1/chat/completions", json={**CHAT, "stream": True}) as response:
            await response.content.readline()
            response.close()
        for _ in range(50):
            server.gate.release()

    talk(server, conversation)
    assert server.thoughts
    assert caplog.records == []


def test_an_answer_in_one_piece_takes_as_long_as_its_tokens() -> None:
    server = Gated()
    server.gate.release()

    async def conversation(session: aiohttp.ClientSession, url: str) -> None:
        async with session.post(f"{url}/v1/chat/completions", json={**CHAT, "max_tokens": 4}) as response:
            assert response.status == 200

    talk(server, conversation)
    assert server.thoughts == [pytest.approx(0.9)]


@pytest.mark.parametrize(
    ("path", "ask", "kind"),
    [
        ("chat/completions", CHAT, "chat.completion"),
        ("completions", {"model": "m", "prompt": "once upon"}, "text_completion"),
        ("embeddings", {"model": "m", "input": ["a b", "c"]}, "list"),
    ],
)
def test_plain_answers_have_usage(path: str, ask: dict[str, Any], kind: str) -> None:
    async def conversation(session: aiohttp.ClientSession, url: str) -> None:
        async with session.post(f"{url}/v1/{path}", json=ask) as response:
            assert response.status == 200
            answer = await response.json()
        assert answer["object"] == kind
        assert answer["model"] == "m"
        assert answer["usage"]["prompt_tokens"] > 0
        if kind == "list":
            assert [d["index"] for d in answer["data"]] == [0, 1]
            assert answer["data"][0]["embedding"] != answer["data"][1]["embedding"]
        else:
            assert answer["choices"][0]["finish_reason"] == "stop"
            assert answer["usage"]["completion_tokens"] > 0

    talk(OpenAIServer(["m"]), conversation)


def test_models_are_listed() -> None:
    async def conversation(session: aiohttp.ClientSession, url: str) -> None:
        async with session.get(f"{url}/v1/models") as response:
            answer = await response.json()
        assert [m["id"] for m in answer["data"]] == ["m", "n"]

    talk(OpenAIServer(["m", "n"]), conversation)


@pytest.mark.parametrize(
    ("body", "status", "param", "code"),
    [
        (b"{no json", 400, None, None),
        (b"[]", 400, "model", None),
        (b'{"messages": []}', 400, "model", None),
        (b'{"model": 7}', 400, "model", None),
        (b'{"model": "other", "messages": [{}]}', 404, "model", "model_not_found"),
        (b'{"model": "m", "messages": []}', 400, "messages", None),
    ],
)
def test_errors_are_openai_style(body: bytes, status: int, param: str | None, code: str | None) -> None:
    async def conversation(session: aiohttp.ClientSession, url: str) -> None:
        async with session.post(f"{url}/v1/chat/completions", data=body) as response:
            assert response.status == status
            error = (await response.json())["error"]
        assert error["type"] == "invalid_request_error"
        assert error["message"]
        assert (error["param"], error["code"]) == (param, code)

    talk(OpenAIServer(["m"]), conversation)


@pytest.mark.parametrize("path", ["/v2/models/iris/infer", "/v2/models/iris/versions/3/infer"])
def test_oip_tensor_in_tensor_out(path: str) -> None:
    async def conversation(session: aiohttp.ClientSession, url: str) -> None:
        tensor = {"name": "input-0", "shape": [2, 4], "datatype": "FP32", "data": [1, 2, 3, 4, 5, 5, 5, 5]}
        async with session.post(f"{url}{path}", json={"id": "x", "inputs": [tensor]}) as response:
            assert response.status == 200
            answer = await response.json()
        assert answer["id"] == "x"
        assert answer["model_name"] == "iris"
        assert answer["model_version"] == ("3" if "versions" in path else "1")
        output = {"name": "output-0", "datatype": "FP32", "shape": [2], "data": [1.0, 2.0]}
        assert answer["outputs"] == [output]

    talk(OipServer(["iris"]), conversation)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b'{"inputs": []}',
        b'{"inputs": [{"shape": [2, 4], "data": [1]}]}',
        b'{"inputs": [{"shape": [1], "data": ["x"]}]}',
    ],
)
def test_oip_errors(body: bytes) -> None:
    async def conversation(session: aiohttp.ClientSession, url: str) -> None:
        async with session.post(f"{url}/v2/models/iris/infer", data=body) as response:
            assert response.status == 400
            assert "tensors" in (await response.json())["error"]

    talk(OipServer(["iris"]), conversation)


def test_oip_health_metadata_and_unknown_model() -> None:
    async def conversation(session: aiohttp.ClientSession, url: str) -> None:
        for path in ("health/live", "health/ready", "models/iris/ready"):
            async with session.get(f"{url}/v2/{path}") as response:
                assert response.status == 200
        async with session.get(f"{url}/v2/models/iris") as response:
            assert (await response.json())["name"] == "iris"
        async with session.post(f"{url}/v2/models/rose/infer", json={}) as response:
            assert response.status == 404
            assert "rose" in (await response.json())["error"]

    talk(OipServer(["iris"]), conversation)


def test_what_arrived_is_kept_every_value_of_it() -> None:
    server = OpenAIServer(["m"])

    async def conversation(session: aiohttp.ClientSession, url: str) -> None:
        # Spoken by hand: a client library would join or drop the second value.
        body = json.dumps(CHAT).encode()
        lines = ["POST /v1/chat/completions HTTP/1.1", "host: s", f"content-length: {len(body)}"]
        lines += ["x-demo-request: 7", "x-user-id: ann", "x-model-version: v1", "X-Model-Version: v2"]
        reader, writer = await asyncio.open_connection(*server.endpoint.split(":"))
        writer.write("\r\n".join([*lines, "x-other: no", "connection: close", "", ""]).encode() + body)
        assert (await reader.read()).startswith(b"HTTP/1.1 200")
        writer.close()
        await writer.wait_closed()
        async with session.get(f"{url}/requests") as response:
            [told] = await response.json()
        [kept] = server.received
        assert kept.request_id == told["request_id"] == "7"
        assert kept.endpoint == server.endpoint
        assert kept.user == "ann"
        assert kept.model == "m"
        assert kept.path == "/v1/chat/completions"
        assert kept.routing == told["routing"] == {"x-model-version": ["v1", "v2"]}

    talk(server, conversation)


def test_the_port_is_free_again_afterwards() -> None:
    server = OpenAIServer(["m"])

    async def conversation(session: aiohttp.ClientSession, url: str) -> None:
        pass

    talk(server, conversation)
    host, port = server.endpoint.split(":")
    with pytest.raises(ConnectionRefusedError):
        asyncio.run(_connect(host, int(port)))


async def _connect(host: str, port: int) -> None:
    await asyncio.open_connection(host, port)

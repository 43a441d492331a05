"""A version may know its model by another name: that name reaches the server wherever the API has it, nothing else."""

from __future__ import annotations

import asyncio
import gzip
import json
import zlib
from collections.abc import Callable
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from extproc.envoy.actions import Mutation
from extproc.exchange.replies import routing_mutation
from extproc.policy.snapshot import HeaderMatch, Policy, Snapshot, Version

from .conftest import Gateway, ModelServer, Processor

pytestmark = pytest.mark.envoy

Servers = Callable[..., list[ModelServer]]
Start = Callable[..., Gateway]
Process = Callable[..., Processor]
BODIES = pytest.mark.parametrize("body", ["streamed", "buffered"])
NAME = "org/llama 3:8b"
ENCODED = "org%2Fllama%203%3A8b"


def rewriting(server: ModelServer, model: str = "m", name: str = NAME) -> Snapshot:
    return Snapshot(
        (Policy("p", models=(model,), versions=(Version("v1", 1, (server.address,), model_rewrite=name),)),)
    )


@BODIES
@pytest.mark.parametrize(
    ("path", "wanted"),
    [
        ("/v2/models/m/infer?trace=1", f"/v2/models/{ENCODED}/infer?trace=1"),
        ("/v2/models/m/versions/7/infer", f"/v2/models/{ENCODED}/versions/7/infer"),
        ("/v1beta/models/m:generateContent", f"/v1beta/models/{ENCODED}:generateContent"),
        ("/v1/realtime/calls?a=%20&model=m&b=m", f"/v1/realtime/calls?a=%20&model={ENCODED}&b=m"),
    ],
)
def test_in_path_and_query(
    body: str, path: str, wanted: str, servers: Servers, processor: Process, gateway: Start
) -> None:
    (server,) = servers("v1")
    snapshot = rewriting(server)
    envoy = gateway(snapshot, processor(snapshot).address, body=body)
    answer = envoy.post({"x": "m"}, path)
    assert (answer.text, answer.headers["x-model-name"]) == ("v1", "m")
    (seen,) = server.seen
    assert (seen.path, json.loads(seen.body)) == (wanted, {"x": "m"})


@BODIES
def test_in_a_header(body: str, servers: Servers, processor: Process, gateway: Start) -> None:
    (server,) = servers("v1")
    snapshot = rewriting(server, name="other.tar.gz")
    envoy = gateway(snapshot, processor(snapshot).address, body=body)
    for path, name in (
        ("/endpoints/e/invocations", "x-amzn-sagemaker-target-model"),
        ("/v2/models/any/infer", "seldon-model"),
    ):
        assert envoy.post({"x": "m"}, path, **{name: "m"}).headers["x-model-name"] == "m"
        assert (server.seen[-1].path, server.seen[-1].headers[name]) == (path, "other.tar.gz")


@BODIES
@pytest.mark.parametrize(("coding", "pack"), [("gzip", gzip.compress), ("deflate", zlib.compress)])
def test_in_a_compressed_body(
    body: str, coding: str, pack: Callable[[bytes], bytes], servers: Servers, processor: Process, gateway: Start
) -> None:
    """The server gets it unpacked, and is told so."""
    (server,) = servers("v1")
    snapshot = rewriting(server)
    envoy = gateway(snapshot, processor(snapshot).address, body=body)
    plain = json.dumps({"prompt": "x" * 200_000, "model": "m", "n": 1}).encode()
    packed = pack(plain)
    wanted = plain.replace(b'"m"', json.dumps(NAME).encode())
    for sent in (packed, iter([packed[:10], packed[10:]])):
        assert envoy.post(sent, content_encoding=coding).text == "v1"
    assert [seen.body for seen in server.seen] == [wanted] * 2
    assert server.seen[0].headers["content-length"] == str(len(wanted))
    assert not any("content-encoding" in seen.headers for seen in server.seen)


@BODIES
def test_a_compressed_body_that_keeps_its_model_stays_as_it_is(
    body: str, servers: Servers, processor: Process, gateway: Start
) -> None:
    (server,) = servers("v1")
    snapshot = Snapshot((Policy("p", models=("m",), versions=(Version("v1", 1, (server.address,)),)),))
    packed = gzip.compress(b'{"model": "m"}')
    envoy = gateway(snapshot, processor(snapshot).address, body=body)
    assert envoy.post(packed, content_encoding="gzip").headers["x-model-name"] == "m"
    assert (server.seen[0].body, server.seen[0].headers["content-encoding"]) == (packed, "gzip")


@pytest.mark.parametrize("name", [":method", ":authority", "host", "authorization", "x-other", "x-forwarded-for"])
def test_envoy_lets_the_processor_change_nothing_else(
    name: str, servers: Servers, processor: Process, gateway: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    (server,) = servers("v1")
    snapshot = rewriting(server)

    def greedy(*decided: Any) -> Mutation:
        mutation = routing_mutation(*decided)
        return Mutation((*mutation.set, (name, "evil")), (*mutation.remove, "x-kept"), mutation.metadata)

    monkeypatch.setattr("extproc.exchange.route.routing_mutation", greedy)
    envoy = gateway(snapshot, processor(snapshot).address)
    assert envoy.ask("m", x_kept="1", authorization="Bearer ours").text == "v1"
    (seen,) = server.seen
    assert "evil" not in seen.headers.values()
    assert (seen.headers["x-kept"], seen.headers["authorization"]) == ("1", "Bearer ours")
    assert seen.headers["x-model-version"] == "v1"
    rejected = "http.aimesh.ext_proc.aimesh_route.rejected_header_mutations"
    assert envoy.envoy.stats(rejected)[rejected] == 2


async def talk(model_server: web.Application, start: Callable[[str], Gateway], beta: str) -> list[str]:
    """What a realtime client hears that says two things, each after the answer to the one before."""
    runner = web.AppRunner(model_server)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    heard = []
    try:
        port = runner.addresses[0][1]
        gateway = await asyncio.to_thread(start, f"127.0.0.1:{port}")
        url = f"http://{gateway.envoy.listen_address}/v1/realtime?model=gpt-realtime"
        async with (
            aiohttp.ClientSession() as client,
            client.ws_connect(url, headers={"x-beta": beta}, protocols=["realtime"]) as socket,
        ):
            for said in ("session.update", "response.create"):
                await socket.send_str(said)
                heard.append(await socket.receive_str(timeout=10))
    finally:
        await runner.cleanup()
    return heard


@BODIES
def test_a_realtime_session_is_a_websocket_to_its_version(
    body: str, servers: Servers, processor: Process, gateway: Start
) -> None:
    (other,) = servers("v1")

    async def realtime(request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse(protocols=["realtime"])
        await socket.prepare(request)
        head = f"{request.headers['x-model-name']} {request.headers['x-model-version']} {request.query_string}"
        async for message in socket:
            await socket.send_str(f"{head} {message.data}")
        return socket

    application = web.Application()
    application.router.add_get("/v1/realtime", realtime)

    def start(address: str) -> Gateway:
        beta = (HeaderMatch((("x-beta", b"true"),)),)
        versions = (
            Version("v1", 1, (other.address,)),
            Version("v2", 0, (address,), match=beta, model_rewrite="mine"),
        )
        snapshot = Snapshot((Policy("p", models=("gpt-*",), versions=versions),))
        return gateway(snapshot, processor(snapshot).address, body=body)

    heard = asyncio.run(talk(application, start, "true"))
    assert heard == ["gpt-realtime v2 model=mine session.update", "gpt-realtime v2 model=mine response.create"]

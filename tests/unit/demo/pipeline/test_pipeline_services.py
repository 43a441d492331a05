"""The services around the models, without Envoys: one server stands in the place of all that preprocessing calls."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

import aiohttp
from aiohttp import web

from extproc.demo.http_server import serving
from extproc.demo.pipeline.services import FeatureStore, Postprocess, Preprocess, Service

SENT = {
    "traceparent": f"00-{'ab' * 16}-{'cd' * 8}-01",
    "tracestate": "a=b",
    "x-request-id": "r",
    "x-demo-request": "7",
    "x-user-id": "anna",
    "authorization": "Bearer token",
    "x-gpu-pool": "forged",
}
PASSED_ON = {"traceparent", "tracestate", "x-request-id", "x-demo-request", "x-user-id"}


def asking(service: Service, ask: Callable[[aiohttp.ClientSession, str], Awaitable[Any]]) -> Any:
    async def main() -> Any:
        async with service.running(), aiohttp.ClientSession() as session:
            return await ask(session, f"http://{service.endpoint}")

    return asyncio.run(main())


def test_features_of_a_user() -> None:
    async def ask(session: aiohttp.ClientSession, url: str) -> Any:
        async with session.get(f"{url}/features/anna", headers=SENT) as answer:
            return await answer.json()

    store = FeatureStore(1)
    assert asking(store, ask) == {"tier": "free", "language": "en"}
    (one,) = store.arrivals
    assert (one.service, one.request_id, one.user) == ("feature-store", "7", "anna")


def test_addresses_are_masked_as_they_come() -> None:
    async def ask(session: aiohttp.ClientSession, url: str) -> Any:
        more = asyncio.Event()

        async def pieces() -> Any:
            yield b"data: write to ops@example.com\n\n"
            await more.wait()
            yield b"data: or to a.b+c@d-e.example.org.\n\n"

        async with session.post(f"{url}/mask", data=pieces(), headers={"content-type": "text/event-stream"}) as answer:
            first = await answer.content.readline()
            more.set()
            return answer.content_type, first, await answer.read()

    kind, first, rest = asking(Postprocess(1), ask)
    assert kind == "text/event-stream"
    assert first == b"data: write to [masked]\n"
    assert rest == b"\ndata: or to [masked].\n\n"


def test_the_best_score_has_the_label() -> None:
    async def ask(session: aiohttp.ClientSession, url: str) -> Any:
        async with session.post(f"{url}/label", json={"scores": [-3, -1, -2]}) as answer:
            return await answer.json()

    assert asking(Postprocess(1), ask)["label"] == "versicolor"


def chat(status: int = 200) -> tuple[int, bytes, dict[str, tuple[dict[str, str], bytes]]]:
    """What preprocessing makes of a chat; and what each service that it calls gets."""
    called: dict[str, tuple[dict[str, str], bytes]] = {}

    async def others(request: web.Request) -> web.Response:
        headers = {name.lower(): value for name, value in request.headers.items()}
        called[request.headers["host"]] = headers, await request.read()
        match request.headers["host"]:
            case "feature-store":
                return web.json_response({"tier": "gold", "language": "en"})
            case "model-router":
                return web.Response(status=status, body=b"of the model", content_type="text/event-stream")
        return web.Response(body=b"masked", content_type="text/event-stream")

    async def main() -> tuple[int, bytes]:
        async with serving([web.route("*", "/{path:.*}", others)]) as outbound:
            service = Preprocess(outbound, 1)
            body = {"model": "m", "messages": [{"role": "user", "content": "so  what\n?"}]}
            async with (
                service.running(),
                aiohttp.ClientSession() as session,
                session.post(f"http://{service.endpoint}/v1/chat/completions", json=body, headers=SENT) as answer,
            ):
                return answer.status, await answer.read()

    return *asyncio.run(main()), called


def test_a_chat_goes_by_way_of_all_services() -> None:
    status, body, called = chat()
    assert (status, body) == (200, b"masked")
    assert [*called] == ["feature-store", "model-router", "postprocess"]
    asked = json.loads(called["model-router"][1])
    assert [one["role"] for one in asked["messages"]] == ["system", "user"]
    assert "gold" in asked["messages"][0]["content"]
    assert asked["messages"][1]["content"] == "so what ?"
    assert called["postprocess"][1] == b"of the model"


def test_each_gets_the_trace_and_the_router_everything() -> None:
    _, _, called = chat()
    for name, (headers, _) in called.items():
        assert {key: headers.get(key) for key in PASSED_ON} == {key: SENT[key] for key in PASSED_ON}
        assert ("authorization" in headers) is ("x-gpu-pool" in headers) is (name == "model-router")


def test_a_models_error_is_passed_on() -> None:
    status, body, called = chat(429)
    assert (status, body) == (429, b"of the model")
    assert "postprocess" not in called


def test_a_classifier_that_is_not_there() -> None:
    async def ask(session: aiohttp.ClientSession, url: str) -> Any:
        async with session.post(f"{url}/classify", json={"model": "iris", "measures": [1.0]}) as answer:
            return answer.status, (await answer.json())["error"]

    async def main() -> Any:
        async def features(_: web.Request) -> web.Response:
            return web.json_response({})

        async with serving([web.get("/features/anonymous", features)]) as outbound:
            service = Preprocess(outbound, 1)
            async with service.running(), aiohttp.ClientSession() as session:
                return await ask(session, f"http://{service.endpoint}")

    status, error = asyncio.run(main())
    assert status == 502
    assert error

"""The demo's client: what it sends, and what it makes of answers good and bad."""

from __future__ import annotations

import asyncio

import pytest
from aiohttp import web

from extproc.demo.model_servers import OipServer, OpenAIServer, Pace
from extproc.demo.traffic import (
    CHAT_MODEL,
    TENSOR_MODEL,
    TESTER,
    UNKNOWN_MODEL,
    UNMATCHED,
    USER,
    Answer,
    Request,
    drive,
    plan,
    timings,
)


def asked(kind: str, model: str = CHAT_MODEL) -> Request:
    return Request("00001", USER, kind, model, "ann")


def answers_of(handler: web.Application) -> dict[str, Answer]:
    """What the client makes of a server that answers every kind of question with ``handler``."""

    async def main() -> dict[str, Answer]:
        runner = web.AppRunner(handler, access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        try:
            await web.TCPSite(runner, "127.0.0.1", 0).start()
            port = runner.addresses[0][1]
            asks = [asked(kind) for kind in ("chat", "chat_stream", "completions", "embeddings", "infer")]
            return {a.request.kind: a for a in await drive(f"http://127.0.0.1:{port}", asks)}
        finally:
            await runner.cleanup()

    return asyncio.run(main())


def always(body: bytes, status: int = 200, content_type: str = "application/json") -> web.Application:
    async def answer(request: web.Request) -> web.Response:
        return web.Response(status=status, body=body, content_type=content_type)

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", answer)
    return app


def test_every_kind_of_question_gets_a_good_answer_of_the_right_server() -> None:
    chat = OpenAIServer([CHAT_MODEL], Pace(first_token=0.02, per_token=0.001))
    tensor = OipServer([TENSOR_MODEL])
    progress = []

    async def main() -> list[Answer]:
        async with chat.running(), tensor.running():
            asks = [asked(kind) for kind in ("chat", "chat_stream", "completions", "embeddings")]
            found = await drive(f"http://{chat.endpoint}", asks, done=lambda: progress.append(1))
            return found + await drive(f"http://{tensor.endpoint}", [asked("infer", TENSOR_MODEL)])

    answers = asyncio.run(main())
    assert [(a.status, a.error) for a in answers] == [(200, "")] * 5
    assert len(progress) == 4
    for answer in answers:
        assert (answer.first_token is not None) == (answer.request.kind == "chat_stream")
        if answer.first_token is not None:
            assert 0 < answer.first_token < answer.seconds
    assert {r.request_id for r in chat.received} == {"00001"}
    assert {r.user for r in chat.received} == {"ann"}


def test_the_role_alone_is_no_first_token() -> None:
    role = b'data: {"choices": [{"delta": {"role": "assistant", "content": ""}}]}\n\n'
    found = answers_of(always(role + b"data: [DONE]\n\n", content_type="text/event-stream"))["chat_stream"]
    assert found.first_token is None
    assert "no content" in found.error


def test_a_stream_that_breaks_off_is_an_error() -> None:
    token = b'data: {"choices": [{"delta": {"content": "Hi"}}]}\n\n'
    found = answers_of(always(token, content_type="text/event-stream"))["chat_stream"]
    assert "before [DONE]" in found.error


@pytest.mark.parametrize("body", [b"", b"no json", b"[]", b"{}", b'{"choices": []}', b'{"data": []}'])
def test_a_body_that_is_no_answer_is_an_error(body: bytes) -> None:
    for answer in answers_of(always(body)).values():
        assert answer.status == 200
        assert answer.error


def test_an_error_status_keeps_what_the_server_said() -> None:
    for answer in answers_of(always(b"out of memory", 507)).values():
        assert (answer.status, answer.error) == (507, "out of memory")


def test_no_server_at_all_is_an_answer_without_status() -> None:
    [answer] = asyncio.run(drive("http://127.0.0.1:1", [asked("chat")]))
    assert answer.status == 0
    assert "Connect" in answer.error


def test_no_more_than_the_given_number_at_a_time() -> None:
    active, most = 0, 0

    async def answer(request: web.Request) -> web.Response:
        nonlocal active, most
        active += 1
        most = max(most, active)
        for _ in range(20):
            await asyncio.sleep(0)
        active -= 1
        return web.Response(status=500)

    async def main() -> None:
        app = web.Application()
        app.router.add_post("/{path:.*}", answer)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        try:
            asks = [asked("chat")] * 40
            assert len(await drive(f"http://127.0.0.1:{runner.addresses[0][1]}", asks, concurrency=4)) == 40
        finally:
            await runner.cleanup()

    asyncio.run(main())
    assert 1 < most <= 4


def test_the_plan_is_a_function_of_its_seed() -> None:
    assert plan(400, 7) == plan(400, 7)
    assert plan(400, 7) != plan(400, 8)


def test_the_plan_shows_everything() -> None:
    asks = plan(400, 7)
    assert len(asks) == len({a.id for a in asks}) == 400
    requests_of: dict[str, int] = {}
    for request in asks:
        if request.role == USER and request.model == CHAT_MODEL:
            requests_of[request.user] = requests_of.get(request.user, 0) + 1
    assert len(requests_of) == 150
    assert min(requests_of.values()) >= 2, "once would show no stickiness"
    assert {a.kind for a in asks} == {"chat_stream", "chat", "completions", "embeddings", "infer"}
    assert all(a.claims for a in asks if a.role != USER)
    assert not any(a.claims for a in asks if a.role == USER)
    assert {a.model for a in asks if a.role == UNMATCHED} == {UNKNOWN_MODEL}
    assert {a.user for a in asks if a.role == TESTER} == {"tester"}


def test_timings() -> None:
    assert timings('route;dur=2, upstream;dur=30.5;desc="x", total; dur="33"') == {
        "route": 2.0,
        "upstream": 30.5,
        "total": 33.0,
    }
    assert timings("cache;desc=hit, total;dur=-") == {}

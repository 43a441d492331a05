"""The pipeline's client, against a gateway of its own."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from typing import Any

import pytest
from aiohttp import web

from extproc import headers
from extproc.demo.http_server import serving
from extproc.demo.pipeline.stages import CLASSIFIER, HOSTED, LLM
from extproc.demo.pipeline.traffic import Answer, Ask, drive, plan

MASKED = "I say [masked]"


@pytest.mark.parametrize("count", [1, 20, 200])
def test_a_plan_has_everything(count: int) -> None:
    asks = plan(count, 3)
    of = Counter(ask.service for ask in asks)
    assert min(of[LLM], of[HOSTED], of[CLASSIFIER]) >= 2
    assert len(asks) == max(count, 6)
    assert {ask.forges for ask in asks} == {True, False}
    assert len({ask.trace for ask in asks}) == len({ask.id for ask in asks}) == len(asks)
    assert plan(count, 3) == asks != plan(count, 4)


def chunk(text: str | None) -> bytes:
    choices = [] if text is None else [{"delta": {"content": text}}]
    return b"data: " + json.dumps({"choices": choices}).encode() + b"\n\n"


STREAM = chunk("") + chunk(MASKED) + chunk(None) + b"data: [DONE]\n\n"


def ask_gateway(answer: bytes | web.HTTPException, *asks: Ask) -> tuple[list[Answer], list[Any]]:
    """What the client makes of a gateway that answers everything so, and what the gateway was sent."""
    seen: list[Any] = []

    async def handle(request: web.Request) -> web.Response:
        sent = {name.lower(): value for name, value in request.headers.items()}
        seen.append((request.path, sent, await request.json()))
        if isinstance(answer, web.HTTPException):
            raise answer
        return web.Response(body=answer)

    async def main() -> list[Answer]:
        async with serving([web.post("/{path:.*}", handle)]) as endpoint:
            return await drive(f"http://{endpoint}", asks, "token")

    return asyncio.run(main()), seen


def ask(service: str, label: str = "", forges: bool = False) -> Ask:
    return Ask("1", service, "user-1", label, forges, "ab" * 16, "cd" * 8)


def test_a_request_begins_its_trace() -> None:
    (answer,), ((path, sent, body),) = ask_gateway(STREAM, ask(LLM))
    assert (path, body["model"], body["stream"]) == ("/v1/chat/completions", "llama-3-8b", True)
    assert sent["traceparent"] == f"00-{'ab' * 16}-{'cd' * 8}-01"
    assert sent["authorization"] == "Bearer token"
    assert not sent.keys() & set(headers.ROUTING)
    root = answer.root()
    assert (root.trace, root.id, root.parent, root.service) == ("ab" * 16, "cd" * 8, "", "client")
    assert abs((root.end - root.start) / 1e9 - answer.seconds) < 0.002
    assert (answer.error, answer.status) == ("", 200)
    assert answer.first_token is not None
    assert 0 < answer.first_token < answer.seconds


def test_forged_headers() -> None:
    _, ((_, sent, _),) = ask_gateway(STREAM, ask(LLM, forges=True))
    assert {name: sent[name] for name in headers.ROUTING} == {name: f"forged-{name}" for name in headers.ROUTING}


def whole(text: str) -> bytes:
    return json.dumps({"choices": [{"message": {"content": text}}]}).encode()


@pytest.mark.parametrize(
    ("asked", "answer", "problem"),
    [
        (ask(LLM), STREAM, ""),
        (ask(LLM), STREAM[:-8], "the stream is not whole"),
        (ask(LLM), b"data: [DONE]\n\n", "the stream is not whole"),
        (ask(LLM), chunk("ops@example.com") + b"data: [DONE]\n\n", "postprocessing has left it as it was"),
        (ask(HOSTED), whole(MASKED), ""),
        (ask(HOSTED), whole("I say ops@example.com"), "postprocessing has left it as it was"),
        (ask(HOSTED), b"[]", "TypeError"),
        (ask(CLASSIFIER, "setosa"), b'{"label": "setosa"}', ""),
        (ask(CLASSIFIER, "setosa"), b'{"label": "virginica"}', "virginica, not setosa"),
        (ask(CLASSIFIER, "setosa"), web.HTTPBadGateway(text="gone"), "gone"),
    ],
)
def test_what_is_no_good_answer(asked: Ask, answer: bytes | web.HTTPException, problem: str) -> None:
    (found,), _ = ask_gateway(answer, asked)
    assert found.error.startswith(problem)
    assert bool(found.error) is bool(problem)
    assert found.root().failed is bool(problem)


def test_nobody_there() -> None:
    (answer,) = asyncio.run(drive("http://127.0.0.1:1", [ask(LLM)], "token"))
    assert (answer.status, answer.error.split(":")[0]) == (0, "ClientConnectorError")

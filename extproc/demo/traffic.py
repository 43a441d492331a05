"""The demo's client: who asks what, and what they got back how fast.

``plan`` is a pure function of its arguments; ``drive`` sends what it planned and measures as a client does.
"""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections.abc import Callable, Sequence
from ssl import SSLContext
from typing import Any

import aiohttp
import msgspec
import numpy as np

from extproc import headers
from extproc.demo.models import REQUEST_ID, USER_ID

CHAT_MODEL = "llama-3-8b"
TENSOR_MODEL = "iris"
UNKNOWN_MODEL = "mistral-7b"
"""No policy of the demo owns it."""

# Who asks.
USER = "user"
TESTER = "tester"
"""Pins version v2, which the policy of the chat model allows."""
INTRUDER = "intruder"
"""Claims routing headers, which nobody may."""
STRANGER = "stranger"
"""Asks for a model that nobody serves, claiming routing headers too."""

_PATHS = {
    "chat_stream": "/v1/chat/completions",
    "chat": "/v1/chat/completions",
    "completions": "/v1/completions",
    "embeddings": "/v1/embeddings",
    "infer": f"/v2/models/{TENSOR_MODEL}/infer",
}
_PIN = ((headers.MODEL_VERSION, "v2"),)
# Every claim is false whoever makes it, so that each would show if it were believed.
_CHAT_CLAIMS = (
    (headers.MODEL_NAME, TENSOR_MODEL),
    (headers.GPU_POOL, "t4-edge"),
    (headers.GPU_ARCHITECTURE, "t4"),
)
_TENSOR_CLAIMS = (
    (headers.MODEL_NAME, CHAT_MODEL),
    (headers.MODEL_VERSION, "v2"),
    (headers.GPU_POOL, "h100-east"),
    (headers.GPU_ARCHITECTURE, "h100"),
    (headers.DESTINATION_ENDPOINT, "127.0.0.1:1"),
)
_TOLD = (headers.MODEL_NAME, headers.MODEL_VERSION, headers.GPU_POOL, "server-timing")
_TENSOR = {"name": "input-0", "shape": [1, 4], "datatype": "FP32", "data": [5.1, 3.5, 1.4, 0.2]}
_TENSOR_ANSWER = 1.02


class Ask(msgspec.Struct, frozen=True):
    """One request to send."""

    id: str
    role: str
    kind: str
    """A key of the paths above: what is asked of which API."""
    model: str
    user: str
    claims: tuple[tuple[str, str], ...] = ()
    """Routing headers that the client sends of its own."""


class Answer(msgspec.Struct, frozen=True):
    """What became of it, as the client saw it. Times in seconds."""

    ask: Ask
    status: int
    """0 where no answer came."""
    seconds: float
    first_token: float | None = None
    """Until the first event with content; None where nothing was streamed."""
    told: dict[str, str] = {}
    """The response headers of the contract."""
    error: str = ""
    """Why it is no good answer; empty where the status and the body are as they should be."""


def plan(requests: int, seed: int) -> list[Ask]:
    """Who asks what, in which order: mostly sticky users of the chat model, some of everything else.

    A few more than ``requests`` where that is too small a number to show everything.
    """
    random = np.random.default_rng(seed)
    users = [f"user-{n:06d}" for n in random.choice(10**6, size=max(2, requests * 3 // 8), replace=False)]

    def some(share: float) -> int:
        return max(2, round(requests * share))

    def anyone() -> str:
        return users[random.integers(len(users))]

    asks: list[tuple[str, str, str, str, tuple[tuple[str, str], ...]]] = []
    asks += [(USER, "infer", TENSOR_MODEL, anyone(), ()) for _ in range(some(0.10))]
    asks += [(TESTER, "chat_stream", CHAT_MODEL, "tester", _PIN) for _ in range(some(0.04))]
    asks += [(INTRUDER, "chat", CHAT_MODEL, anyone(), _CHAT_CLAIMS) for _ in range(some(0.03))]
    asks += [(INTRUDER, "infer", TENSOR_MODEL, anyone(), _TENSOR_CLAIMS) for _ in range(some(0.03))]
    asks += [(STRANGER, "chat", UNKNOWN_MODEL, anyone(), _CHAT_CLAIMS) for _ in range(some(0.02))]
    # The rest are the sticky users' own: everyone twice at least, since once would show no stickiness.
    left = max(requests - len(asks), 2 * len(users))
    kinds = random.choice(["chat_stream", "chat", "completions", "embeddings"], size=left, p=[0.5, 0.2, 0.1, 0.2])
    who = [*users, *users, *(anyone() for _ in range(left - 2 * len(users)))]
    asks += [(USER, str(kind), CHAT_MODEL, user, ()) for kind, user in zip(kinds, who, strict=True)]
    return [Ask(f"{i:05d}", *asks[at]) for i, at in enumerate(random.permutation(len(asks)))]


async def drive(
    url: str,
    asks: Sequence[Ask],
    concurrency: int = 12,
    done: Callable[[], None] = lambda: None,
    tls: SSLContext | None = None,
) -> list[Answer]:
    """Sends ``asks`` in their order, at most ``concurrency`` at a time. ``done`` is called after each.

    ``tls``: whom to trust and who we are, where ``url`` begins with ``https``.
    """
    answers: list[Answer] = []
    waiting = iter(asks)

    async def worker(session: aiohttp.ClientSession) -> None:
        for ask in waiting:
            answers.append(await _send(session, url, ask))
            done()

    timeout = aiohttp.ClientTimeout(total=15)
    connector = aiohttp.TCPConnector(limit=concurrency, ssl=tls or True)
    async with (
        aiohttp.ClientSession(timeout=timeout, connector=connector) as session,
        asyncio.TaskGroup() as group,
    ):
        for _ in range(concurrency):
            group.create_task(worker(session))
    return answers


def timings(server_timing: str) -> dict[str, float]:
    """Milliseconds per metric of a ``server-timing`` header (W3C); what has no duration is left out."""
    return {name: float(ms) for name, ms in re.findall(r"([\w-]+)\s*;\s*dur=\"?(\d+(?:\.\d+)?)", server_timing)}


async def _send(session: aiohttp.ClientSession, url: str, ask: Ask) -> Answer:
    sent = {REQUEST_ID: ask.id, USER_ID: ask.user, **dict(ask.claims)}
    status, told, first, error = 0, {}, None, ""
    start = time.perf_counter()
    try:
        async with session.post(url + _PATHS[ask.kind], json=_body(ask), headers=sent) as response:
            status = response.status
            told = {name: ", ".join(response.headers.getall(name)) for name in _TOLD if name in response.headers}
            if status == 200 and ask.kind == "chat_stream":
                at = await _first_token(response)
                first = at - start
            else:
                raw = await response.read()
                error = _fault(ask, json.loads(raw)) if status == 200 else raw[:200].decode(errors="replace")
    except (aiohttp.ClientError, TimeoutError, ValueError, LookupError, TypeError) as problem:
        error = f"{type(problem).__name__}: {problem}"
    return Answer(ask, status, time.perf_counter() - start, first, told, error)


async def _first_token(response: aiohttp.ClientResponse) -> float:
    """Reads the stream to its end: when its first content came. Raises ``ValueError`` for no good stream."""
    first = None
    line = b""
    async for raw in response.content:
        if not raw.strip():
            continue
        line = raw.strip()
        if first is None and line.startswith(b"data: {"):
            choices = json.loads(line.removeprefix(b"data: "))["choices"]
            if choices and choices[0]["delta"].get("content"):
                first = time.perf_counter()
    if line != b"data: [DONE]":
        raise ValueError("the stream ended before [DONE]")
    if first is None:
        raise ValueError("the stream had no content")
    return first


def _body(ask: Ask) -> dict[str, Any]:
    question = "Which GPU am I talking to?"
    match ask.kind:
        case "chat":
            return {"model": ask.model, "messages": [{"role": "user", "content": question}]}
        case "chat_stream":
            messages = [{"role": "user", "content": question}]
            options = {"include_usage": True}
            return {"model": ask.model, "messages": messages, "stream": True, "stream_options": options}
        case "completions":
            return {"model": ask.model, "prompt": question}
        case "embeddings":
            return {"model": ask.model, "input": [question]}
    return {"id": ask.id, "inputs": [_TENSOR]}


def _fault(ask: Ask, answer: dict[str, Any]) -> str:
    """What is wrong with the body of a whole answer; empty if nothing is."""
    match ask.kind:
        case "chat":
            good = bool(answer["choices"][0]["message"]["content"]) and answer["usage"]["completion_tokens"] > 0
        case "completions":
            good = bool(answer["choices"][0]["text"])
        case "embeddings":
            good = len(answer["data"][0]["embedding"]) > 0
        case _:
            good = answer["id"] == ask.id and abs(answer["outputs"][0]["data"][0] - _TENSOR_ANSWER) < 1e-9
    return "" if good else f"not the answer to what was asked: {json.dumps(answer)[:200]}"

"""The demo's client: which requests it sends for whom, and what it measures of their answers.

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
from extproc.demo.model_servers import REQUEST_ID, USER_ID

CHAT_MODEL = "llama-3-8b"
TENSOR_MODEL = "iris"
UNKNOWN_MODEL = "mistral-7b"
"""No policy of the demo owns it."""

# Roles: on whose behalf a request is sent.
USER = "user"
TESTER = "tester"
"""Pins version v2, which the policy of the chat model allows."""
SPOOFER = "spoofer"
"""Sends routing headers, which no client may set."""
UNMATCHED = "unmatched"
"""Requests a model without a policy, with forged routing headers too."""

_PATHS = {
    "chat_stream": "/v1/chat/completions",
    "chat": "/v1/chat/completions",
    "completions": "/v1/completions",
    "embeddings": "/v1/embeddings",
    "infer": f"/v2/models/{TENSOR_MODEL}/infer",
}
_PIN = ((headers.MODEL_VERSION, "v2"),)
# None of these is ever right, so that each would show if it were believed.
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
_ROUTING_HEADERS = (headers.MODEL_NAME, headers.MODEL_VERSION, headers.GPU_POOL, "server-timing")
_TENSOR = {"name": "input-0", "shape": [1, 4], "datatype": "FP32", "data": [5.1, 3.5, 1.4, 0.2]}
_TENSOR_ANSWER = 1.02


class Request(msgspec.Struct, frozen=True):
    """One request to send."""

    id: str
    role: str
    kind: str
    """A key of ``_PATHS``: the API and its operation."""
    model: str
    user: str
    claims: tuple[tuple[str, str], ...] = ()
    """Routing headers that the client itself sends."""


class Answer(msgspec.Struct, frozen=True):
    """The answer to a request as the client saw it. Times in seconds."""

    request: Request
    status: int
    """0 where no answer came."""
    seconds: float
    first_token: float | None = None
    """Until the first event with content; None where nothing was streamed."""
    headers: dict[str, str] = {}
    """The response headers of the contract."""
    error: str = ""
    """Why it is no good answer; empty where the status and the body are as they should be."""


def plan(count: int, seed: int) -> list[Request]:
    """The requests in their order: mostly of sticky users of the chat model, some of every other role and kind.

    A few more than ``count`` where that is too small a number to show everything.
    """
    random = np.random.default_rng(seed)
    users = [f"user-{n:06d}" for n in random.choice(10**6, size=max(2, count * 3 // 8), replace=False)]

    def some(share: float) -> int:
        return max(2, round(count * share))

    def anyone() -> str:
        return users[random.integers(len(users))]

    planned: list[tuple[str, str, str, str, tuple[tuple[str, str], ...]]] = []
    planned += [(USER, "infer", TENSOR_MODEL, anyone(), ()) for _ in range(some(0.10))]
    planned += [(TESTER, "chat_stream", CHAT_MODEL, "tester", _PIN) for _ in range(some(0.04))]
    planned += [(SPOOFER, "chat", CHAT_MODEL, anyone(), _CHAT_CLAIMS) for _ in range(some(0.03))]
    planned += [(SPOOFER, "infer", TENSOR_MODEL, anyone(), _TENSOR_CLAIMS) for _ in range(some(0.03))]
    planned += [(UNMATCHED, "chat", UNKNOWN_MODEL, anyone(), _CHAT_CLAIMS) for _ in range(some(0.02))]
    # The rest are the sticky users' own: everyone twice at least, since once would show no stickiness.
    left = max(count - len(planned), 2 * len(users))
    kinds = random.choice(["chat_stream", "chat", "completions", "embeddings"], size=left, p=[0.5, 0.2, 0.1, 0.2])
    who = [*users, *users, *(anyone() for _ in range(left - 2 * len(users)))]
    planned += [(USER, str(kind), CHAT_MODEL, user, ()) for kind, user in zip(kinds, who, strict=True)]
    return [Request(f"{i:05d}", *planned[at]) for i, at in enumerate(random.permutation(len(planned)))]


async def drive(
    url: str,
    requests: Sequence[Request],
    concurrency: int = 12,
    done: Callable[[], None] = lambda: None,
    tls: SSLContext | None = None,
) -> list[Answer]:
    """Sends ``requests`` in their order, at most ``concurrency`` at a time. ``done`` is called after each.

    ``tls``: whom to trust and who we are, where ``url`` begins with ``https``.
    """
    answers: list[Answer] = []
    waiting = iter(requests)

    async def worker(session: aiohttp.ClientSession) -> None:
        for request in waiting:
            answers.append(await _send(session, url, request))
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


async def _send(session: aiohttp.ClientSession, url: str, request: Request) -> Answer:
    sent = {REQUEST_ID: request.id, USER_ID: request.user, **dict(request.claims)}
    status, headers_seen, first, error = 0, {}, None, ""
    start = time.perf_counter()
    try:
        async with session.post(url + _PATHS[request.kind], json=_body(request), headers=sent) as response:
            status = response.status
            headers_seen = {
                name: ", ".join(response.headers.getall(name)) for name in _ROUTING_HEADERS if name in response.headers
            }
            if status == 200 and request.kind == "chat_stream":
                at = await _first_token(response)
                first = at - start
            else:
                raw = await response.read()
                error = _problem_of(request, json.loads(raw)) if status == 200 else raw[:200].decode(errors="replace")
    except (aiohttp.ClientError, TimeoutError, ValueError, LookupError, TypeError) as problem:
        error = f"{type(problem).__name__}: {problem}"
    return Answer(request, status, time.perf_counter() - start, first, headers_seen, error)


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


def _body(request: Request) -> dict[str, Any]:
    question = "Which GPU am I talking to?"
    match request.kind:
        case "chat":
            return {"model": request.model, "messages": [{"role": "user", "content": question}]}
        case "chat_stream":
            messages = [{"role": "user", "content": question}]
            options = {"include_usage": True}
            return {"model": request.model, "messages": messages, "stream": True, "stream_options": options}
        case "completions":
            return {"model": request.model, "prompt": question}
        case "embeddings":
            return {"model": request.model, "input": [question]}
    return {"id": request.id, "inputs": [_TENSOR]}


def _problem_of(request: Request, answer: dict[str, Any]) -> str:
    """What is wrong with the body of an answer that is not streamed; empty if nothing is."""
    match request.kind:
        case "chat":
            good = bool(answer["choices"][0]["message"]["content"]) and answer["usage"]["completion_tokens"] > 0
        case "completions":
            good = bool(answer["choices"][0]["text"])
        case "embeddings":
            good = len(answer["data"][0]["embedding"]) > 0
        case _:
            good = answer["id"] == request.id and abs(answer["outputs"][0]["data"][0] - _TENSOR_ANSWER) < 1e-9
    return "" if good else f"not the answer to what was asked: {json.dumps(answer)[:200]}"

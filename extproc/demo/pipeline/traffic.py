"""The pipeline's client: what it asks for, the trace that it begins with each request, and what it measures.

``plan`` is a pure function of its arguments; ``drive`` sends what it planned.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import aiohttp
import msgspec
import numpy as np

from extproc import headers
from extproc.demo.model_servers import REQUEST_ID, USER_ID
from extproc.demo.pipeline.classifier import CLASSES
from extproc.demo.pipeline.models import ADDRESS
from extproc.demo.pipeline.services import MASK
from extproc.demo.pipeline.stages import CLASSIFIER, CLIENT, HOSTED, LLM
from extproc.telemetry.spans import Span

MODELS = {LLM: "llama-3-8b", HOSTED: "gpt-4o-mini", CLASSIFIER: "iris"}
"""What each model's service is asked for."""
_SHARES = {LLM: 0.5, HOSTED: 0.2, CLASSIFIER: 0.3}
FORGED = "forged"
"""Begins every routing header that a client sends here."""
_CLAIMS = {name: f"{FORGED}-{name}" for name in headers.ROUTING}
_MEASURES = {"setosa": (5.1, 3.5, 1.4, 0.2), "versicolor": (5.7, 2.8, 4.1, 1.3), "virginica": (6.7, 3.1, 5.6, 2.4)}
_ANSWER_HEADERS = (*headers.ROUTING, "authorization", "server-timing")
CONCURRENCY = 8


class Ask(msgspec.Struct, frozen=True):
    """One request to send."""

    id: str
    service: str
    """Of the model that is to answer."""
    user: str
    label: str = ""
    """That the classifier is to find."""
    forges: bool = False
    """Whether it comes with routing headers, none of which is right."""
    trace: str = ""
    """The ids of its trace and its span."""
    span: str = ""


class Answer(msgspec.Struct, frozen=True):
    """The answer to a request as the client saw it."""

    ask: Ask
    status: int
    """0 where no answer came."""
    start: int
    """Nanoseconds since the epoch, as the end."""
    end: int
    seconds: float
    """By the client's stopwatch, a clock of its own."""
    first_token: float | None = None
    """Seconds until the first event with content; None where nothing was streamed."""
    headers: Mapping[str, str] = {}
    """Those of its response headers that must not tell a secret."""
    error: str = ""
    """Why it is no good answer; empty where it is as it should be."""

    def root(self) -> Span:
        """The span that the client tells of it."""
        name = f"ask {MODELS[self.ask.service]}"
        told: dict[str, str | bool | int | float] = {"http.response.status_code": self.status, "user": self.ask.user}
        failed = bool(self.error)
        return Span(self.ask.trace, self.ask.span, "", CLIENT, name, "client", self.start, self.end, told, failed)


def plan(count: int, seed: int) -> list[Ask]:
    """The requests in their order: of every model at least two, of every four one with forged headers."""
    random = np.random.default_rng(seed)
    services = [name for name, share in _SHARES.items() for _ in range(max(2, round(count * share)))]
    users = [f"user-{n:04d}" for n in random.choice(10**4, size=max(2, len(services) // 4), replace=False)]
    asked = []
    for i, at in enumerate(random.permutation(len(services))):
        service, user = services[at], users[random.integers(len(users))]
        label = CLASSES[random.integers(len(CLASSES))] if service == CLASSIFIER else ""
        trace, span = random.bytes(16).hex(), random.bytes(8).hex()
        asked.append(Ask(f"{i:05d}", service, user, label, int(at) % 4 == 0, trace, span))
    return asked


async def drive(url: str, asks: Sequence[Ask], token: str, done: Callable[[], None] = lambda: None) -> list[Answer]:
    """Sends ``asks`` in their order, some at a time, each with the client's ``token``. ``done``: called after each."""
    answers: list[Answer] = []
    waiting = iter(asks)

    async def worker(session: aiohttp.ClientSession) -> None:
        for ask in waiting:
            answers.append(await _send(session, url, ask, token))
            done()

    timeout = aiohttp.ClientTimeout(total=60)
    async with aiohttp.ClientSession(timeout=timeout) as session, asyncio.TaskGroup() as group:
        for _ in range(CONCURRENCY):
            group.create_task(worker(session))
    return answers


async def _send(session: aiohttp.ClientSession, url: str, ask: Ask, token: str) -> Answer:
    sent = {
        REQUEST_ID: ask.id,
        USER_ID: ask.user,
        "authorization": f"Bearer {token}",
        "traceparent": f"00-{ask.trace}-{ask.span}-01",
        **(_CLAIMS if ask.forges else {}),
    }
    path = "/classify" if ask.service == CLASSIFIER else "/v1/chat/completions"
    status, told, first, error = 0, {}, None, ""
    began, start = _now()
    try:
        async with session.post(url + path, json=_body(ask), headers=sent) as response:
            status = response.status
            told = {name: response.headers[name] for name in _ANSWER_HEADERS if name in response.headers}
            if status == 200 and ask.service == LLM:
                first, error = await _stream(response, began)
            else:
                error = _problem(ask, status, await response.read())
    except (aiohttp.ClientError, TimeoutError, ValueError, LookupError, TypeError) as problem:
        error = f"{type(problem).__name__}: {problem}"
    ended, end = _now()
    return Answer(ask, status, start, end, ended - began, first, told, error)


def _now() -> tuple[float, int]:
    """The same moment by both clocks: seconds of the stopwatch, nanoseconds since the epoch."""
    while True:
        before, epoch, after = time.perf_counter(), time.time_ns(), time.perf_counter()
        if after - before < 1e-4:  # else the process was interrupted in between
            return before, epoch


async def _stream(response: aiohttp.ClientResponse, began: float) -> tuple[float | None, str]:
    """Seconds to the first content, and what is wrong with the stream."""
    first, text, last = None, "", b""
    async for line in response.content:
        if line.startswith(b"data: {"):
            for choice in json.loads(line.removeprefix(b"data: "))["choices"]:
                piece = choice["delta"].get("content") or ""
                if piece and first is None:
                    first = time.perf_counter() - began
                text += piece
        last = line.strip() or last
    if last != b"data: [DONE]" or first is None:
        return first, "the stream is not whole"
    return first, _unmasked(text)


def _problem(ask: Ask, status: int, raw: bytes) -> str:
    """What is wrong with an answer that is not streamed; empty if nothing is."""
    if status != 200:
        return raw[:200].decode(errors="replace")
    answer = json.loads(raw)
    if ask.service == CLASSIFIER:
        return "" if answer["label"] == ask.label else f"{answer['label']}, not {ask.label}"
    return _unmasked(answer["choices"][0]["message"]["content"])


def _unmasked(text: str) -> str:
    return "" if MASK in text and ADDRESS not in text else f"postprocessing has left it as it was: {text[-60:]}"


def _body(ask: Ask) -> dict[str, Any]:
    if ask.service == CLASSIFIER:
        return {"model": MODELS[ask.service], "measures": _MEASURES[ask.label]}
    messages = [{"role": "user", "content": "Which  GPU am I\ntalking to?"}]
    body: dict[str, Any] = {"model": MODELS[ask.service], "messages": messages}
    return body | ({"stream": True, "stream_options": {"include_usage": True}} if ask.service == LLM else {})

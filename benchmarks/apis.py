"""The cases of reading alone: which API, which model, and what the body tells. Each has its target.

Bodies of 5 MB are one image in base64, with the model before or behind it: a client of Anthropic's puts it first, one
of OpenAI's last.
"""

from __future__ import annotations

import base64
import json
import tracemalloc
from collections.abc import Callable, Mapping
from functools import partial
from itertools import cycle
from random import Random

import msgspec

from benchmarks.measure import Timing, verdict
from benchmarks.requests import CHAT, INFER, MODEL, chat_body
from extproc import apis
from extproc.bodies.request import RequestFields
from extproc.headers import Headers


class Target(msgspec.Struct, frozen=True):
    """A case of reading, and the most microseconds that it may take. ``name`` is unique."""

    name: str
    below_us: float
    run: Callable[[], object]


GROUP = "reading"
READ_CHAT = "4 KB chat, read"
IMAGE = 5_000_000
"""Bytes of the body that holds an image."""


def targets() -> list[Target]:
    """Everything that is measured, each proven to do its work."""
    head = Headers.of([(":method", "POST"), (":path", CHAT), ("content-type", "application/json")])
    account = "arn%3Aaws%3Abedrock%3Aus-east-1%3A"
    arns = cycle([f"/model/{account}{n:012}%3Ainference-profile%2Fllama3/converse-stream" for n in range(16)])
    return [
        Target(READ_CHAT, 8, _reads(chat_body(4096), head)),
        Target("model in the path, OIP", 3, partial(apis.classify, "POST", INFER, head)),
        Target("model in the path, Bedrock ARN", 3, lambda: apis.classify("POST", next(arns), head)),
        Target("path without variables", 0.5, partial(apis.classify, "POST", CHAT, head)),
        Target("path of no API", 3, partial(apis.classify, "GET", "/static/app/main.js", head)),
        Target("5 MB image, model first", 2000, _reads(image_body(first=True), head)),
        Target("5 MB image, model last", 3000, _reads(image_body(first=False), head)),
    ]


def image_body(*, first: bool, size: int = IMAGE) -> bytes:
    """A chat request of about ``size`` bytes: one image."""
    url = "data:image/png;base64," + base64.b64encode(Random(0).randbytes(size * 3 // 4)).decode()
    content = [{"type": "text", "text": 'What is "this"?\n'}, {"type": "image_url", "image_url": {"url": url}}]
    model = {"model": MODEL, "max_tokens": 300}
    messages = {"messages": [{"role": "user", "content": content}]}
    return json.dumps(model | messages if first else messages | model).encode()


def extra_memory(body: bytes, headers: Headers) -> int:
    """The most bytes that reading a body takes beside the body itself."""
    read = _reads(body, headers)
    tracemalloc.start()
    try:
        read()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def _reads(body: bytes, headers: Headers) -> Callable[[], RequestFields]:
    def read() -> RequestFields:
        found = apis.classify("POST", CHAT, headers)
        assert found is not None
        assert found.reader is not None
        fields = found.reader.read(body, headers)
        assert not isinstance(fields, int)
        return fields

    assert read().model == MODEL
    return read


def verdicts(targets: list[Target], timings: Mapping[str, Timing]) -> list[str]:
    """A line for each target: met or not met."""
    return [
        f"Target, {target.name} under {target.below_us:g} µs: {verdict(timings[target.name], target.below_us)}."
        for target in targets
    ]

"""How tests read an answer: a stream of events, or a document."""

from __future__ import annotations

import json
from typing import Any

from extproc.answers import AnswerReader, answer_reader
from extproc.answers.answer_reader import DECODERS
from extproc.headers import Headers


def answer(api: str, operation: str, kind: str = "text/event-stream", **headers: str) -> AnswerReader:
    """An answer of which nothing has come yet; ``headers``: more of them, with underscores for hyphens."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    found = answer_reader(api, operation, Headers.of({"content-type": kind, **named}.items()))
    assert found is not None
    return found


def read(api: str, operation: str, *events: Any, kind: str = "text/event-stream") -> AnswerReader:
    """An answer of these events; a document where ``kind`` is JSON."""
    found = answer_reader(api, operation, Headers.of([("content-type", kind)]))
    assert found is not None
    for event in events:
        text = event if isinstance(event, bytes) else json.dumps(event).encode()
        found.feed(text if kind == "application/json" else b"data: %b\n\n" % text)
    found.end()
    assert (found.streamed, found.malformed) == (kind in DECODERS, False)
    return found


def document(api: str, operation: str, body: Any) -> AnswerReader:
    return read(api, operation, body, kind="application/json")

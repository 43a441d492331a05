"""How tests read an answer: a stream of events, or a document."""

from __future__ import annotations

import json
from typing import Any

from extproc.answers import AnswerReader, answer_reader
from extproc.answers.answer_reader import DECODERS
from extproc.headers import Headers


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

"""What a server of a realtime API sends: the events of one answer, as WebSocket frames."""

from __future__ import annotations

import json
from typing import Any

from tests.unit.answers.wire.test_websocket import frame

USED = {
    "total_tokens": 38,
    "input_tokens": 21,
    "output_tokens": 17,
    "input_token_details": {"text_tokens": 13, "audio_tokens": 8, "cached_tokens": 8},
}


def said(kind: str, **more: Any) -> bytes:
    return frame(json.dumps({"type": kind, "event_id": "event_1", **more}).encode())


def created(name: str = "r1") -> bytes:
    return said("response.created", response={"object": "realtime.response", "id": name, "status": "in_progress"})


def delta(name: str = "r1", kind: str = "output_text", text: str = "word") -> bytes:
    return said(f"response.{kind}.delta", response_id=name, item_id="i1", delta=text)


def done(name: str = "r1", status: str = "completed", **more: Any) -> bytes:
    return said("response.done", response={"id": name, "status": status, **more, "usage": more.get("usage", USED)})


def failed(kind: str) -> bytes:
    return said("error", error={"type": kind, "message": "…"})

"""The cases of watching: what one piece of a streamed answer costs the observer, from the bytes that gRPC gives.

Each is a stream of 10,000 pieces of one token each, past the handler of the server, with its metrics.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import repeat

from benchmarks.apis import Target
from benchmarks.requests import MODEL, example_snapshot
from extproc._pb import ext_proc_pb2 as pb
from extproc.grpc_server import Abort, LoopLag, Metadata
from extproc.serve.servicer import ProcessHandler, handler_factory
from extproc.telemetry.metrics import Metrics

PIECES = 10_000
BELOW_US = 12.0

_CHAT = {
    "id": "chatcmpl-0123456789abcdef0123456789abcdef",
    "object": "chat.completion.chunk",
    "created": 1750000000,
    "model": MODEL,
    "choices": [{"index": 0, "delta": {"content": " token"}, "logprobs": None, "finish_reason": None}],
    "usage": None,
}
_MESSAGES = {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": " token"}}
_SAID = {"role": "assistant", "content": " token"}
_OLLAMA = {"model": MODEL, "created_at": "2025-06-15T12:00:00.0Z", "message": _SAID, "done": False}
_SPOKEN = {"type": "response.output_text.delta", "event_id": "event_0123456789abcdefghijk", "response_id": "resp_1"}
_REALTIME = {**_SPOKEN, "item_id": "item_1", "output_index": 0, "content_index": 0, "delta": " token"}
_CREATED = {"type": "response.created", "event_id": "event_0", "response": {"id": "resp_1", "status": "in_progress"}}
_ANSWERS = {
    "openai": ("chat.completions", "text/event-stream", b"data: %b\n\n", _CHAT),
    "anthropic": ("messages", "text/event-stream", b"event: content_block_delta\ndata: %b\n\n", _MESSAGES),
    "ollama": ("chat", "application/x-ndjson", b"%b\n", _OLLAMA),
    "azure": ("realtime", "", b"", _REALTIME),
}
"""Operation, content type, how an event is framed, and the event. Azure's is a session: a WebSocket, and its frames."""


class _Idle(LoopLag):
    """Of an engine that keeps up."""

    def seconds(self, now: float) -> float:  # noqa: ARG002 - as ``LoopLag`` has it
        return 0.0


class _Sender:
    metadata: Metadata = ()
    loop_lag: LoopLag = _Idle()

    def __call__(self, message: bytes) -> None:  # noqa: ARG002 - as ``Sender`` has it
        raise AssertionError("an observer never sends")

    def end(self, abort: Abort) -> None:
        raise abort

    def reply(self, replies: Sequence[bytes], *, done: bool) -> None:
        raise AssertionError(replies, done)

    def call_later(self, seconds: float, callback: Callable[[], None]) -> None:
        raise AssertionError(seconds, callback)


SENDER = _Sender()
"""Of an engine that keeps up, to whom no observer sends anything."""


def targets() -> list[Target]:
    """One for each format, each proven to find its tokens."""
    return [Target(f"a token of a stream, {api}", BELOW_US, watched(api)) for api in _ANSWERS]


def watched(api: str) -> Callable[[], object]:
    """Takes the next piece of a stream; after the last one another stream begins."""
    metrics = Metrics()
    following = _streams(api, metrics)

    def take() -> None:
        handler, message = next(following)
        handler.receive(message)

    for _ in range(PIECES + len(messages(api)) - 1):
        take()
    assert list(metrics._counters["inference_tokens"].values()) == [PIECES]
    return take


def _streams(api: str, metrics: Metrics) -> Iterator[tuple[ProcessHandler, bytes]]:
    policies = example_snapshot()
    handlers, sender = handler_factory(lambda: policies, metrics), SENDER
    *first, piece, last = messages(api)
    while True:
        handler = handlers(sender)
        yield from ((handler, message) for message in first)
        yield from ((handler, message) for message in repeat(piece, PIECES))
        yield handler, last
        handler.close()


def messages(api: str, metadata: Mapping[str, str] | None = None, end: bytes = b"") -> list[bytes]:
    """What Envoy sends: the request's head, the response's, in a session what begins an answer, a piece, the end.

    ``metadata``: what ``aimesh.route`` wrote; None: as little as an answer can be read by. ``end``: what the last piece
    of the answer has.
    """
    operation, kind, frame, event = _ANSWERS[api]
    request = pb.ProcessingRequest(observability_mode=True)
    request.request_headers.headers.headers.add(key="traceparent", raw_value=b"00-1-2-01")
    response = pb.ProcessingRequest(observability_mode=True)
    headers = {":status": "200" if kind else "101", "server-timing": "route;dur=1, upstream;dur=40, total;dur=41"}
    headers |= {"content-type": kind} if kind else {}
    for name, value in headers.items():
        response.response_headers.headers.headers.add(key=name, raw_value=value.encode())
    metadata = metadata or {"api": api, "operation": operation, "model": MODEL, "policy": MODEL, "version": "v1"}
    sent = [frame % json.dumps(event).encode()] if kind else [_message(_CREATED), _message(event)]
    pieces = [pb.ProcessingRequest(observability_mode=True) for _ in sent]
    for piece, data in zip(pieces, sent, strict=True):
        piece.response_body.body = data
    last = pb.ProcessingRequest(observability_mode=True)
    last.response_body.body, last.response_body.end_of_stream = end, True
    every = (request, response, *pieces, last)
    for message in every:
        for key, value in metadata.items():
            message.metadata_context.filter_metadata["aimesh"].fields[key].string_value = value
    return [message.SerializeToString() for message in every]


def _message(event: object) -> bytes:
    """Of a WebSocket, not masked."""
    data = json.dumps(event).encode()
    return (bytes([0x81, len(data)]) if len(data) < 126 else b"\x81\x7e" + len(data).to_bytes(2)) + data

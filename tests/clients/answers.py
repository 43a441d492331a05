"""What a model server answers to each call of ``calls.CALLS``, as its API has it, and how many tokens it says."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from random import Random
from typing import Any, NamedTuple

import grpc

from tests.envoy.conftest import Answer, Handler, ModelServer, say
from tests.envoy.schedules import AWS, NDJSON, event, proto, sse

TEXT = "Because."
_JSON, _SSE = "application/json", "text/event-stream"


class Answered(NamedTuple):
    """A request that a server has answered."""

    version: str
    tokens: tuple[int, int]
    """Of input and output; of an API that tells none, nobody was told."""


class Model:
    """The servers of one version, which note in ``answered`` what they do."""

    def __init__(self, version: str, answered: list[Answered], seed: int) -> None:
        self._version, self._answered = version, answered
        self._random = Random(seed)

    def answers(self, server: ModelServer) -> Answer:
        """What a server of HTTP answers."""

        def answer(request: Handler) -> None:
            readable = request.headers.get("content-type", "").startswith(_JSON)  # not of tensors
            asked = json.loads(server.seen[-1].body) if readable else {}
            kind, text = _made(request.path.partition("?")[0], asked, *self._next())
            say(text, content_type=kind)(request)

        return answer

    @contextmanager
    def grpc(self) -> Iterator[str]:
        """A server of Triton's gRPC API; its address."""

        def infer(_request: bytes, _context: object) -> bytes:
            self._next()
            return proto(1, b"any") + proto(2, self._version.encode())

        handler = grpc.unary_unary_rpc_method_handler(infer)
        methods = grpc.method_handlers_generic_handler("inference.GRPCInferenceService", {"ModelInfer": handler})
        server = grpc.server(ThreadPoolExecutor(1))
        server.add_generic_rpc_handlers((methods,))
        port = server.add_insecure_port("127.0.0.1:0")
        server.start()
        yield f"127.0.0.1:{port}"
        server.stop(None).wait()

    def _next(self) -> tuple[int, int]:
        tokens = self._random.randint(2, 900), self._random.randint(2, 900)
        self._answered.append(Answered(self._version, tokens))
        return tokens


def _made(path: str, asked: dict[str, Any], into: int, out: int) -> tuple[str, bytes]:
    """Content type and body."""
    streamed = bool(asked.get("stream"))
    if path.endswith(("/chat/completions", "/fim/completions")):
        return _openai(streamed, into, out)
    if path.endswith("/responses"):
        return _JSON, _json(_response(into, out))
    if path == "/v1/messages":
        return _anthropic(streamed, into, out)
    if ":streamGenerateContent" in path:
        return _SSE, sse(_gemini(into, out))
    if ":generateContent" in path:
        return _JSON, _json(_gemini(into, out))
    if path == "/v2/chat":
        return _cohere(streamed, into, out)
    if path == "/api/chat":
        return _ollama(streamed, into, out)
    if path.endswith(("/converse", "/converse-stream")):
        return _bedrock(path.endswith("-stream"), into, out)
    if path.endswith("/invocations"):
        return _JSON, _json({"text": TEXT})
    if path.endswith("/infer"):
        output = {"name": "y", "datatype": "INT32", "shape": [1], "data": [1]}
        return _JSON, _json({"model_name": "any", "model_version": "1", "outputs": [output]})
    return _hugging_face(asked)


def _json(data: object) -> bytes:
    return json.dumps(data).encode()


def _openai(streamed: bool, into: int, out: int) -> tuple[str, bytes]:
    usage = {"prompt_tokens": into, "completion_tokens": out, "total_tokens": into + out}
    common = {"id": "1", "created": 1, "model": "any"}
    said = {"role": "assistant", "content": TEXT}
    if not streamed:
        choice = {"index": 0, "message": said, "finish_reason": "stop"}
        return _JSON, _json({**common, "object": "chat.completion", "choices": [choice], "usage": usage})
    common["object"] = "chat.completion.chunk"
    first = {**common, "choices": [{"index": 0, "delta": said, "finish_reason": None}]}
    last = {**common, "choices": [{"index": 0, "delta": {"content": ""}, "finish_reason": "stop"}], "usage": usage}
    return _SSE, sse(first) + sse(last) + sse("[DONE]")


def _response(into: int, out: int) -> dict[str, Any]:
    content = [{"type": "output_text", "text": TEXT, "annotations": []}]
    return {
        "id": "resp_1",
        "object": "response",
        "created_at": 1,
        "model": "any",
        "status": "completed",
        "output": [{"id": "msg_1", "type": "message", "role": "assistant", "status": "completed", "content": content}],
        "usage": {"input_tokens": into, "output_tokens": out, "total_tokens": into + out},
    }


def _anthropic(streamed: bool, into: int, out: int) -> tuple[str, bytes]:
    message: dict[str, Any] = {"id": "msg_1", "type": "message", "role": "assistant", "model": "any"}
    if not streamed:
        content = [{"type": "text", "text": TEXT}]
        usage = {"input_tokens": into, "output_tokens": out}
        return _JSON, _json({**message, "content": content, "stop_reason": "end_turn", "usage": usage})
    message |= {"content": [], "usage": {"input_tokens": into, "output_tokens": 1}}
    delta = {"type": "text_delta", "text": TEXT}
    events: list[dict[str, Any]] = [
        {"type": "message_start", "message": message},
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
        {"type": "content_block_delta", "index": 0, "delta": delta},
        {"type": "content_block_stop", "index": 0},
        {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": out}},
        {"type": "message_stop"},
    ]
    return _SSE, b"".join(sse(one, one["type"]) for one in events)


def _gemini(into: int, out: int) -> dict[str, Any]:
    usage = {"promptTokenCount": into, "candidatesTokenCount": out, "totalTokenCount": into + out}
    content = {"role": "model", "parts": [{"text": TEXT}]}
    return {"candidates": [{"content": content, "finishReason": "STOP"}], "usageMetadata": usage}


def _cohere(streamed: bool, into: int, out: int) -> tuple[str, bytes]:
    usage = {"tokens": {"input_tokens": into, "output_tokens": out}}
    content = {"type": "text", "text": TEXT}
    if not streamed:
        message = {"role": "assistant", "content": [content]}
        return _JSON, _json({"id": "1", "message": message, "finish_reason": "COMPLETE", "usage": usage})
    events: list[dict[str, Any]] = [
        {"type": "message-start", "id": "1", "delta": {"message": {"role": "assistant", "content": []}}},
        {"type": "content-start", "index": 0, "delta": {"message": {"content": {"type": "text", "text": ""}}}},
        {"type": "content-delta", "index": 0, "delta": {"message": {"content": {"text": TEXT}}}},
        {"type": "content-end", "index": 0},
        {"type": "message-end", "delta": {"finish_reason": "COMPLETE", "usage": usage}},
    ]
    return _SSE, b"".join(sse(one, one["type"]) for one in events)


def _ollama(streamed: bool, into: int, out: int) -> tuple[str, bytes]:
    common = {"model": "any", "created_at": "2026-01-01T00:00:00Z"}
    end = {"done": True, "done_reason": "stop", "prompt_eval_count": into, "eval_count": out}
    message = {"role": "assistant", "content": TEXT}
    if not streamed:
        return _JSON, _json({**common, "message": message, **end})
    first = {**common, "message": message, "done": False}
    last = {**common, "message": message | {"content": ""}, **end}
    return NDJSON, _json(first) + b"\n" + _json(last) + b"\n"


def _bedrock(streamed: bool, into: int, out: int) -> tuple[str, bytes]:
    usage = {"inputTokens": into, "outputTokens": out, "totalTokens": into + out}
    if not streamed:
        message = {"role": "assistant", "content": [{"text": TEXT}]}
        metrics = {"latencyMs": 1}
        return _JSON, _json(
            {"output": {"message": message}, "stopReason": "end_turn", "usage": usage, "metrics": metrics}
        )
    return AWS, b"".join(
        (
            event("messageStart", {"role": "assistant"}),
            event("contentBlockDelta", {"contentBlockIndex": 0, "delta": {"text": TEXT}}),
            event("contentBlockStop", {"contentBlockIndex": 0}),
            event("messageStop", {"stopReason": "end_turn"}),
            event("metadata", {"usage": usage, "metrics": {"latencyMs": 1}}),
        )
    )


def _hugging_face(asked: dict[str, Any]) -> tuple[str, bytes]:
    """At ``/`` both text generation and embeddings are asked for."""
    if asked.get("stream"):
        token = {"id": 1, "text": TEXT, "logprob": 0, "special": False}
        return _SSE, sse({"index": 1, "token": token, "generated_text": TEXT, "details": None})
    if "parameters" in asked:
        return _JSON, _json([{"generated_text": TEXT}])
    return _JSON, _json([[0.25, 0.5]])

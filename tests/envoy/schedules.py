"""Streamed answers of every API, step by step: what is noise, what a token, what is told at the end.

No step is a token that only looks like one: keep-alives, role-only deltas, empty deltas, pings. Line endings and
spaces are as odd as each format allows.
"""

from __future__ import annotations

import base64
import json
import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any
from zlib import crc32

from .test_grpc import varint

NOISE, TOKEN, END = "noise", "token", "end"
WORDS = ("The", " mesh", " knows", " each", " model", ".")
USED = (21, 17, 8)
"""Tokens of input, output and those of the input that were cached: more of output than pieces."""

Step = tuple[str, bytes]


@dataclass(frozen=True)
class Schedule:
    """One streamed answer. ``used``: what it tells of tokens; None for what it does not."""

    name: str
    path: str
    steps: Sequence[Step]
    kind: str = "text/event-stream"
    used: tuple[int | None, int | None, int | None] = USED
    form: bool = False
    """The request is a form."""

    @property
    def request(self) -> tuple[str, bytes]:
        """Content type and body."""
        if self.form:
            part = b'--b\r\ncontent-disposition: form-data; name="model"\r\n\r\nm\r\n--b--\r\n'
            return "multipart/form-data; boundary=b", part
        return "application/json", b'{"model":"m","stream":true,"inputs":"a","text":"a"}'

    @property
    def grpc(self) -> bool:
        return self.kind == "application/grpc"

    @property
    def pieces(self) -> int:
        return sum(role == TOKEN for role, _ in self.steps)


def sse(data: object, event: str = "", line: str = "\n", colon: str = ": ") -> bytes:
    """One event; ``data`` becomes JSON unless it is text."""
    text = data if isinstance(data, str) else json.dumps(data)
    lines = [f"event{colon}{event}"] if event else []
    return "".join(one + line for one in [*lines, *(f"data{colon}{part}" for part in text.split("\n")), ""]).encode()


def chat(line: str = "\n", colon: str = ": ") -> list[Step]:
    def delta(**content: Any) -> bytes:
        return sse({"choices": [{"index": 0, "delta": content}], "usage": None}, line=line, colon=colon)

    usage = {"prompt_tokens": 21, "completion_tokens": 17, "prompt_tokens_details": {"cached_tokens": 8}}
    return [
        (NOISE, f": keep-alive{line}{line}".encode()),
        (NOISE, delta(role="assistant", content="")),
        *((TOKEN, delta(content=word)) for word in WORDS),
        (END, delta()),
        (END, sse({"choices": [], "usage": usage}, line=line, colon=colon) + sse("[DONE]", line=line, colon=colon)),
    ]


def completion() -> list[Step]:
    usage = {"prompt_tokens": 21, "completion_tokens": 17, "prompt_tokens_details": {"cached_tokens": 8}}
    return [
        (NOISE, b"\xef\xbb\xbf: hello\r\r"),
        *((TOKEN, sse({"choices": [{"text": word}]}, line="\r")) for word in WORDS),
        (END, sse({"choices": [], "usage": usage}, line="\r") + sse("[DONE]", line="\r")),
    ]


def responses() -> list[Step]:
    usage = {"input_tokens": 21, "output_tokens": 17, "input_tokens_details": {"cached_tokens": 8}}

    def one(kind: str, **more: Any) -> bytes:
        return sse({"type": kind, **more}, kind, colon=":")

    return [
        (NOISE, one("response.created", response={"usage": None})),
        (NOISE, one("response.output_item.added", item={"content": []})),
        *((TOKEN, one("response.output_text.delta", delta=word)) for word in WORDS),
        (END, one("response.completed", response={"usage": usage})),
    ]


def anthropic() -> list[Step]:
    start = {"input_tokens": 9, "cache_read_input_tokens": 8, "cache_creation_input_tokens": 4, "output_tokens": 1}

    def one(kind: str, **more: Any) -> bytes:
        return sse(json.dumps({"type": kind, **more}, indent=0), kind)  # data of several lines

    return [
        (NOISE, one("message_start", message={"usage": start})),
        (NOISE, one("content_block_start", index=0, content_block={"type": "text", "text": ""}) + one("ping")),
        *((TOKEN, one("content_block_delta", index=0, delta={"type": "text_delta", "text": word})) for word in WORDS),
        (END, one("content_block_stop", index=0)),
        (END, one("message_delta", delta={"stop_reason": "end_turn"}, usage={"output_tokens": 17})),
        (END, one("message_stop")),
    ]


def interaction() -> list[Step]:
    usage = {"total_input_tokens": 21, "total_output_tokens": 12, "total_thought_tokens": 5, "total_cached_tokens": 8}

    def one(kind: str, **more: Any) -> bytes:
        return sse({"event_type": kind, **more}, kind)

    return [
        (NOISE, one("interaction.created", interaction={"id": "i", "status": "in_progress"})),
        (NOISE, one("step.start", index=0, step={"type": "model_output"})),
        *((TOKEN, one("step.delta", index=0, delta={"type": "text", "text": word})) for word in WORDS),
        (END, one("step.stop", index=0)),
        (END, one("interaction.completed", interaction={"id": "i", "status": "completed", "usage": usage})),
    ]


def gemini(wrapped: Iterable[bytes] | None = None) -> list[Step]:
    """As server-sent events or, with what stands between them, as an array."""

    def one(text: str, **more: Any) -> bytes:
        usage = {"promptTokenCount": 21, "cachedContentTokenCount": 8, **more}
        return json.dumps({"candidates": [{"content": {"parts": [{"text": text}]}}], "usageMetadata": usage}).encode()

    said = [one(word) for word in WORDS]
    last = one("", candidatesTokenCount=12, thoughtsTokenCount=5)
    if wrapped is None:
        events = [sse(text.decode(), line="\r\n") for text in (*said, last)]
        return [*((TOKEN, event) for event in events[:-1]), (END, events[-1])]
    return [
        (NOISE, b"["),
        (TOKEN, said[0]),
        *((TOKEN, b",\r\n" + text) for text in said[1:]),
        (END, b",\r\n" + last),
        (END, b"]"),
    ]


def cohere() -> list[Step]:
    usage = {"billed_units": {"input_tokens": 3.0}, "tokens": {"input_tokens": 21.0, "output_tokens": 17.0}}

    def one(kind: str, **delta: Any) -> bytes:
        return sse({"type": kind, "delta": delta}, kind)

    return [
        (NOISE, one("message-start", message={"role": "assistant", "content": []})),
        (NOISE, one("content-start", message={"content": {"type": "text", "text": ""}})),
        *((TOKEN, one("content-delta", message={"content": {"text": word}})) for word in WORDS),
        (END, one("message-end", finish_reason="COMPLETE", usage=usage) + sse("[DONE]")),
    ]


def lines(noise: Iterable[object], tokens: Iterable[object], last: object) -> list[Step]:
    """JSON lines."""
    found = [(NOISE, one) for one in noise] + [(TOKEN, one) for one in tokens] + [(END, last)]
    return [(role, json.dumps(one).encode() + b"\n") for role, one in found]


def cohere_v1() -> list[Step]:
    tokens = {"tokens": {"input_tokens": 21, "output_tokens": 17}}
    return lines(
        [{"event_type": "stream-start", "is_finished": False}],
        ({"event_type": "text-generation", "text": word, "is_finished": False} for word in WORDS),
        {"event_type": "stream-end", "is_finished": True, "response": {"text": "…", "meta": tokens}},
    )


def ollama(**said: Any) -> list[Step]:
    """``said``: how a word is said, as the one key and a function."""
    ((key, wrap),) = said.items()
    return lines(
        [{key: wrap(""), "done": False}],
        ({key: wrap(word), "done": False} for word in WORDS),
        {key: wrap(""), "done": True, "prompt_eval_count": 21, "eval_count": 17},
    )


def frame(payload: bytes, **headers: str) -> bytes:
    """A message of an AWS event stream."""
    head = b""
    for name, value in headers.items():
        key = b":" + name.replace("_", "-").encode()
        head += bytes([len(key)]) + key + b"\7" + struct.pack(">H", len(value)) + value.encode()
    prelude = struct.pack(">II", 16 + len(head) + len(payload), len(head))
    message = prelude + struct.pack(">I", crc32(prelude)) + head + payload
    return message + struct.pack(">I", crc32(message))


def event(kind: str, payload: object) -> bytes:
    data = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
    return frame(data, event_type=kind, content_type="application/json", message_type="event")


def converse() -> list[Step]:
    usage = {"inputTokens": 13, "outputTokens": 17, "cacheReadInputTokens": 8, "totalTokens": 38}
    return [
        (NOISE, event("messageStart", {"role": "assistant"})),
        *((TOKEN, event("contentBlockDelta", {"delta": {"text": word}})) for word in WORDS),
        (END, event("contentBlockStop", {"contentBlockIndex": 0}) + event("messageStop", {"stopReason": "end_turn"})),
        (END, event("metadata", {"usage": usage})),
    ]


def invoked(steps: Iterable[Step]) -> list[Step]:
    """Anthropic's events as Bedrock wraps them."""

    def wrapped(one: bytes, **more: Any) -> bytes:
        said = b"".join(line[6:] for line in one.splitlines() if line.startswith(b"data: "))
        inner = json.dumps(json.loads(said) | more).encode()
        return event("chunk", {"bytes": base64.b64encode(inner).decode()})

    counts = {"inputTokenCount": 13, "outputTokenCount": 17, "cacheReadInputTokenCount": 8}
    *before, (_, stop) = [(role, data) for role, data in steps if b"ping" not in data]
    metrics = {"amazon-bedrock-invocationMetrics": counts}
    return [*((role, wrapped(data)) for role, data in before), (END, wrapped(stop, **metrics))]


def tgi() -> list[Step]:
    def one(word: str, **more: Any) -> bytes:
        return sse({"index": 1, "token": {"id": 7, "text": word}, **more}, colon=":")

    *first, last = WORDS
    details = {"finish_reason": "length", "generated_tokens": 17}
    return [
        (NOISE, b":\n\n"),
        *((TOKEN, one(word, generated_text=None)) for word in first),
        (TOKEN, one(last, generated_text="…", details=details)),
    ]


def sglang() -> list[Step]:
    """The text so far, in every event."""
    usage = {"prompt_tokens": 21, "completion_tokens": 17, "cached_tokens": 8}
    said = ["".join(WORDS[: n + 1]) for n in range(len(WORDS))]
    return [
        (NOISE, sse({"text": "", "meta_info": usage | {"completion_tokens": 0}})),
        *((TOKEN, sse({"text": text, "meta_info": usage})) for text in said),
        (END, sse("[DONE]")),
    ]


def kinds(before: str, token: str, after: str) -> list[Step]:
    """OpenAI's streams of sound and text."""
    usage = {"input_tokens": 21, "output_tokens": 17, "input_tokens_details": {"cached_tokens": 8}}
    return [
        *([(NOISE, sse({"type": before}))] if before else []),
        *((TOKEN, sse({"type": token, "delta": word, "audio": word})) for word in WORDS),
        (END, sse({"type": after, "usage": usage})),
    ]


def images() -> list[Step]:
    usage = {"input_tokens": 21, "output_tokens": 17, "input_tokens_details": {"cached_tokens": 8}}
    sent = {"b64_json": base64.b64encode(bytes(3000)).decode()}
    return [
        (TOKEN, sse({"type": "image_generation.partial_image", **sent}, "image_generation.partial_image")),
        (TOKEN, sse({"type": "image_generation.completed", **sent, "usage": usage}, "image_generation.completed")),
    ]


def proto(number: int, value: int | bytes) -> bytes:
    """A field of protobuf."""
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    return varint(number << 3 | 2) + varint(len(value)) + value


def vllm() -> list[Step]:
    counts = proto(2, 21) + proto(3, 5) + proto(4, 8)
    complete = proto(2, b"stop") + proto(3, 21) + proto(4, 17) + proto(5, 8)
    return [*((TOKEN, proto(1, proto(1, b"\7") + counts)) for _ in WORDS), (END, proto(2, complete))]


def tensors() -> list[Step]:
    """Triton's: an answer may be empty, as the last one is."""
    named = proto(1, b"m")
    said = [(TOKEN, proto(2, named + proto(5, proto(1, b"text")) + proto(6, word.encode()))) for word in WORDS]
    return [*said, (END, proto(2, named))]


GRPC = "application/grpc"
AWS = "application/vnd.amazon.eventstream"
NDJSON = "application/x-ndjson"
UNCACHED = (21, 17, None)
FAILING = (
    Schedule("openai", "/v1/chat/completions", [*chat()[:5], (END, sse({"error": {"message": "out of memory"}}))]),
    Schedule("anthropic", "/v1/messages", [*anthropic()[:4], (END, sse({"type": "error", "error": {}}, "error"))]),
    Schedule(
        "responses", "/v1/responses", [*responses()[:4], (END, sse({"type": "response.failed"}, "response.failed"))]
    ),
    Schedule(
        "bedrock",
        "/model/m/converse-stream",
        [*converse()[:3], (END, frame(b"{}", exception_type="internalServerException", message_type="exception"))],
        AWS,
    ),
    Schedule("ollama", "/api/chat", [(NOISE, b'{"error":"model runner has stopped"}\n')], NDJSON),
    Schedule("triton", "/v2/models/m/generate_stream", [(END, sse({"error": "failed to allocate"}))]),
    Schedule("tgi", "/generate_stream", [*tgi()[:3], (END, sse({"error": "overloaded", "error_type": "overloaded"}))]),
    Schedule("triton gRPC", "/inference.GRPCInferenceService/ModelStreamInfer", [(END, proto(1, b"no"))], GRPC),
)
"""Status 200, and then an error."""
CUT = (
    Schedule("openai", "/v1/chat/completions", chat()[:5]),
    Schedule("anthropic", "/v1/messages", anthropic()[:5]),
    Schedule("ollama", "/api/chat", ollama(message=lambda w: {"content": w})[:3], NDJSON),
)
"""An end, but not the one that is due."""


def _openai(path: str, steps: Sequence[Step]) -> Schedule:
    return Schedule(path.removeprefix("/"), path, steps)


SCHEDULES = (
    _openai("/v1/chat/completions", chat("\r\n")),
    _openai("/v1/completions", completion()),
    _openai("/v1/responses", responses()),
    _openai("/v1/images/generations", images()),
    _openai("/v1/audio/speech", kinds("", "speech.audio.delta", "speech.audio.done")),
    Schedule(
        "transcription",
        "/v1/audio/transcriptions",
        kinds("transcript.text.created", "transcript.text.delta", "transcript.text.done"),
        form=True,
    ),
    Schedule("transcription of vLLM", "/v1/audio/transcriptions", chat(), form=True),
    Schedule("azure", "/openai/deployments/m/chat/completions?api-version=1", chat(colon=":")),
    Schedule("anthropic", "/v1/messages", anthropic()),
    Schedule("gemini", "/v1beta/models/m:streamGenerateContent?alt=sse", gemini()),
    Schedule("gemini, array", "/v1beta/models/m:streamGenerateContent", gemini(()), "application/json"),
    Schedule("gemini, interactions", "/v1beta/interactions", interaction()),
    Schedule("vertex", "/v1/projects/p/locations/l/publishers/anthropic/models/m:streamRawPredict", anthropic()),
    Schedule("cohere v2", "/v2/chat", cohere(), used=UNCACHED),
    Schedule("cohere v1", "/v1/chat", cohere_v1(), "application/stream+json", UNCACHED),
    Schedule("bedrock converse", "/model/m/converse-stream", converse(), AWS),
    Schedule("bedrock invoke", "/model/m/invoke-with-response-stream", invoked(anthropic()), AWS),
    Schedule(
        "sagemaker",
        "/endpoints/m/invocations-response-stream",
        [(role, event("PayloadPart", data)) for role, data in chat()],
        AWS,
    ),
    Schedule("ollama chat", "/api/chat", ollama(message=lambda w: {"content": w}), NDJSON, used=UNCACHED),
    Schedule("ollama generate", "/api/generate", ollama(response=str), NDJSON, used=UNCACHED),
    Schedule("tgi", "/generate_stream", tgi(), used=(None, 17, None)),
    Schedule("sglang", "/generate", sglang()),
    Schedule("mlflow", "/invocations", chat()),
    Schedule(
        "triton",
        "/v2/models/m/generate_stream",
        [(NOISE, sse({"text_output": ""})), *((TOKEN, sse({"text_output": word})) for word in WORDS)],
        used=(None, None, None),
    ),
    Schedule("vllm gRPC", "/vllm.grpc.engine.VllmEngine/Generate", vllm(), GRPC),
    Schedule(
        "triton gRPC",
        "/inference.GRPCInferenceService/ModelStreamInfer",
        tensors(),
        GRPC,
        used=(None, None, None),
    ),
    Schedule(
        "torchserve gRPC",
        "/org.pytorch.serve.grpc.inference.InferenceAPIsService/StreamPredictions",
        [(TOKEN, proto(1, word.encode())) for word in WORDS],
        GRPC,
        used=(None, None, None),
    ),
)

"""What the table says of ends, failures and first tokens, by API."""

from __future__ import annotations

import json
from typing import Any

import pytest

from extproc.answers import AnswerReader, answer_reader
from extproc.apis import FAMILIES, TABLE
from extproc.apis.answer_shape import AnswerShape
from extproc.apis.answer_table import HEADERS, SESSIONS, SHAPES
from extproc.headers import Headers
from tests.house.tree import ROOT


def test_the_table_has_what_the_families_declare() -> None:
    for family in FAMILIES:
        (api,) = {row.api for row in family.ROWS}
        for operation, shape in vars(family).get("ANSWERS", {}).items():
            assert SHAPES[api, operation] is shape
        for operation, shape in vars(family).get("SESSION_ANSWERS", {}).items():
            assert SESSIONS[api, operation] is shape
    assert set(SHAPES) | set(SESSIONS) <= {(row.api, row.operation) for row in TABLE}
    assert len(SHAPES) == sum(len(vars(family).get("ANSWERS", {})) for family in FAMILIES), (
        "no two are of one operation"
    )
    assert set(HEADERS) >= {"x-prompt-tokens", "x-amzn-bedrock-output-token-count"}


def opened(api: str, operation: str, kind: str = "text/event-stream") -> AnswerReader:
    found = answer_reader(api, operation, Headers.of([("content-type", kind)]))
    assert found is not None
    return found


def stream(api: str, operation: str, *events: Any) -> AnswerReader:
    found = opened(api, operation)
    for event in events:
        found.feed(b"data: %b\n\n" % (event if isinstance(event, bytes) else json.dumps(event).encode()))
    found.end()
    return found


def document(api: str, operation: str, body: Any) -> AnswerReader:
    found = opened(api, operation, "application/json")
    found.feed(json.dumps(body).encode())
    found.end()
    return found


def chat(content: str = "", finish: str | None = None, index: int = 0, **more: Any) -> dict[str, Any]:
    return {"choices": [{"index": index, "delta": {"content": content}, "finish_reason": finish}], **more}


def text(content: str, finish: str | None) -> dict[str, Any]:
    return {"choices": [{"text": content, "finish_reason": finish}]}


def sglang(finish: Any, index: int = 0) -> dict[str, Any]:
    return {"index": index, "text": "a", "meta_info": {"completion_tokens": 1, "finish_reason": finish}}


_, _, ENDS_PAGE = (ROOT / "docs" / "timing.md").read_text().partition("## What ends an answer")


@pytest.mark.parametrize("key", [key for key, shape in SHAPES.items() if isinstance(shape, AnswerShape)])
def test_what_ends_an_answer_is_documented(key: tuple[str, str]) -> None:
    shape = SHAPES[key]
    assert isinstance(shape, AnswerShape)
    pointers = [*shape.ends, *shape.finishes, *(text.partition("=")[0] for text in shape.failures)]
    named = {pointer.strip("/").replace("/*/", "[].").replace("/", ".") for pointer in pointers}
    words = {word for text in shape.failures for word in text.partition("=")[2].split("|")}
    for name in (*named, *words, *shape.end_kinds, *shape.finish_kinds, *shape.error_kinds):
        assert f"`{name}`" in ENDS_PAGE, name


ABORT = {"type": "abort", "message": "…", "status_code": 503}
ERROR = {"object": "error", "message": "…", "type": "InternalServerError", "code": 500}
CLIENT_ERROR = {"object": "error", "message": "…", "type": "BadRequestError", "code": 400}
FAILURES = [
    ("openai", "chat.completions", chat(finish="abort")),
    ("openai", "chat.completions", chat(finish="error")),
    ("openai", "chat.completions", chat("a", "abort")),
    ("azure", "completions", text("a", "error")),
    ("openai", "audio.transcriptions", chat(finish="error")),
    ("generate", "generate", sglang(ABORT)),
    ("sagemaker", "invocations", sglang(ABORT)),
    ("sagemaker", "invocations", chat(finish="abort")),
    ("cohere", "chat", {"type": "message-end", "delta": {"finish_reason": "ERROR"}}),
    ("cohere", "chat", {"is_finished": True, "finish_reason": "ERROR_TOXIC", "event_type": "stream-end"}),
    ("cohere", "chat", {"event_type": "stream-end", "response": {"finish_reason": "TIMEOUT"}}),
    ("openai", "responses", {"object": "response", "status": "failed", "error": None}),
    ("gemini", "interactions", {"event_type": "interaction.completed", "interaction": {"status": "failed"}}),
    *((api, operation, ERROR) for (api, operation), shape in SHAPES.items() if isinstance(shape, AnswerShape)),
]


@pytest.mark.parametrize(("api", "operation", "event"), FAILURES)
def test_failures_that_are_said_inside(api: str, operation: str, event: Any) -> None:
    assert stream(api, operation, event).state.failed
    assert document(api, operation, event).state.failed


def test_an_error_that_is_the_clients_is_no_failure() -> None:
    for reader in (
        stream("openai", "chat.completions", CLIENT_ERROR),
        document("openai", "chat.completions", CLIENT_ERROR),
    ):
        assert (reader.state.failed, reader.state.client_error) == (False, True)


def test_output_before_a_failure_and_usage_behind_it_count() -> None:
    found = stream("openai", "chat.completions", chat("a"), chat("b", "abort"), USAGE, b"[DONE]")
    assert (found.state.failed, found.state.output_events, found.counts()) == (True, 2, (7, 1, None))
    assert stream("generate", "generate", sglang(ABORT)).state.output_events == 1


@pytest.mark.parametrize(("reason", "failed"), [(b"abort", True), (b"error", True), (b"stop", False), (b"", False)])
def test_grpc_tells_why_it_ended(reason: bytes, failed: bool) -> None:
    complete = b"\x12" + bytes([len(reason)]) + reason + b"\x18\x05\x20\x00"  # and 5 tokens of input, none of output
    chunk = b"\x0a\x07\x0a\x01\x07\x10\x05\x18\x03"  # a token, 5 of input, 3 of output
    found = opened("vllm", "generate", "application/grpc")
    for message in (chunk, b"\x12" + bytes([len(complete)]) + complete):
        found.feed(b"\0" + len(message).to_bytes(4) + message)
    assert (found.state.failed, found.state.complete) == (failed, not failed)
    assert found.counts() == (5, 3, None)


def test_one_part_of_a_batch_has_failed() -> None:
    assert document("generate", "generate", [sglang({"type": "stop"}), sglang(ABORT, 1)]).state.failed


@pytest.mark.parametrize(
    ("api", "operation", "event"),
    [
        ("openai", "chat.completions", chat(finish="stop")),
        ("openai", "chat.completions", chat("abort", "length", object="chat.completion.chunk")),
        ("openai", "chat.completions", chat(finish="content_filter", error=None)),
        ("generate", "generate", sglang({"type": "length", "length": 1})),
        ("cohere", "chat", {"type": "message-end", "delta": {"finish_reason": "MAX_TOKENS"}}),
        ("openai", "responses", {"object": "response", "status": "incomplete"}),
    ],
)
def test_what_is_no_failure(api: str, operation: str, event: Any) -> None:
    assert not stream(api, operation, event).state.failed
    assert not document(api, operation, event).state.failed


USAGE = {"choices": [], "usage": {"prompt_tokens": 7, "completion_tokens": 1}}
STOP = {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 1}}
ENDS: list[tuple[str, str, list[Any], bool]] = [
    ("openai", "chat.completions", [chat("a"), chat(finish="stop"), USAGE], True),
    ("openai", "chat.completions", [chat("a", "length")], True),
    ("openai", "chat.completions", [chat("a"), b"[DONE] "], True),
    ("openai", "chat.completions", [chat("a"), b" [DONE]\t"], True),
    ("openai", "chat.completions", [chat("a")], False),
    ("openai", "chat.completions", [chat("a"), USAGE], False),
    ("openai", "chat.completions", [chat("a", "", error=None)], False),
    ("openai", "chat.completions", [chat("a", "stop"), chat("b", None, 1)], False),
    ("openai", "chat.completions", [chat("a", "stop"), chat("b", None, 1), chat("", "stop", 1)], True),
    ("azure", "completions", [text("a", "stop")], True),
    ("openai", "audio.translations", [chat("a", "stop")], True),
    ("anthropic", "messages", [STOP], True),
    ("anthropic", "messages", [{"type": "content_block_delta", "delta": {"text": "a"}}], False),
    ("generate", "generate", [sglang(None), sglang({"type": "stop"})], True),
    ("generate", "generate", [sglang({"type": "stop"}), sglang(None, 1)], False),
    ("generate", "generate_stream", [{"token": {"text": "a"}, "generated_text": "a"}], True),
    ("cohere", "chat", [{"type": "message-end", "delta": {"finish_reason": "COMPLETE"}}], True),
    ("openai", "responses", [{"type": "response.output_text.delta", "delta": "a"}], False),
    ("gemini", "interactions", [{"event_type": "step.delta", "delta": {"type": "text", "text": "a"}}], False),
    ("gemini", "interactions", [{"event_type": "interaction.completed", "interaction": {"id": "i"}}], True),
    ("gemini", "interactions", [{"event_type": "interaction.complete", "interaction": {"id": "i"}}], True),
    ("ollama", "chat", [{"message": {"content": "a"}, "done": False}], False),
    ("ollama", "chat", [{"message": {"content": ""}, "done": True, "done_reason": "stop"}], True),
]


@pytest.mark.parametrize(("api", "operation", "events", "ended"), ENDS)
def test_what_ends_a_stream(api: str, operation: str, events: list[Any], ended: bool) -> None:
    found = stream(api, operation, *events)
    assert (found.has_end_mark, found.state.complete, found.state.failed) == (True, ended, False)


def test_a_reason_is_not_the_end_of_what_is_read() -> None:
    found = opened("openai", "chat.completions")
    found.feed(b"data: %b\n\n" % json.dumps(chat(finish="stop")).encode())
    assert (found.state.complete, found.state.over) == (True, False)
    found.feed(b"data: %b\n\ndata: [DONE]\n\n" % json.dumps(USAGE).encode())
    assert (found.counts(), found.state.over) == ((7, 1, None), True)


def block(**block: Any) -> dict[str, Any]:
    return {"type": "content_block_start", "index": 0, "content_block": block}


def item(**item: Any) -> dict[str, Any]:
    return {"type": "response.output_item.added", "output_index": 0, "item": item}


def part(**part: Any) -> dict[str, Any]:
    return {"candidates": [{"content": {"parts": [part]}}]}


@pytest.mark.parametrize(
    ("api", "operation", "event", "output"),
    [
        ("anthropic", "messages", block(type="text", text=""), False),
        ("anthropic", "messages", block(type="text", text="a"), True),
        ("anthropic", "messages", block(type="thinking", thinking="", signature=""), False),
        ("anthropic", "messages", block(type="redacted_thinking", data="EmwK"), True),
        ("anthropic", "messages", block(type="tool_use", id="t", name="find", input={}), True),
        ("anthropic", "messages", block(type="server_tool_use", id="t", name="web_search", input={}), True),
        ("vertex", "streamRawPredict", block(type="redacted_thinking", data="EmwK"), True),
        ("openai", "responses", item(type="message", role="assistant", content=[]), False),
        ("openai", "responses", item(type="reasoning", id="r", summary=[]), False),
        ("openai", "responses", item(type="reasoning", encrypted_content="gAAA"), True),
        ("openai", "responses", item(type="function_call", name="now", arguments=""), True),
        ("azure", "responses", {"type": "response.content_part.added", "part": {"text": ""}}, False),
        ("azure", "responses", {"type": "response.content_part.added", "part": {"text": "a"}}, True),
        ("openai", "responses", {"type": "response.x.partial_image", "partial_image_b64": "a"}, True),
        ("openai", "responses", {"type": "response.created", "response": {"status": "in_progress"}}, False),
        ("bedrock", "converse-stream", {"start": {"toolUse": {"toolUseId": "t", "name": "now"}}}, True),
        ("bedrock", "converse-stream", {"start": {}}, False),
        ("gemini", "interactions", {"event_type": "step.delta", "delta": {"type": "text", "text": "a"}}, True),
        ("gemini", "interactions", {"event_type": "content.delta", "delta": {"type": "text", "text": "a"}}, True),
        ("gemini", "interactions", {"event_type": "step.start", "step": {"type": "model_output"}}, False),
        ("gemini", "streamGenerateContent", part(thoughtSignature="EmwK"), True),
        ("gemini", "streamGenerateContent", part(text="", thought=True), False),
        ("cohere", "chat", {"type": "content-start", "delta": {"message": {"content": {"text": ""}}}}, False),
        ("cohere", "chat", {"type": "content-start", "delta": {"message": {"content": {"text": "a"}}}}, True),
        ("openai", "chat.completions", {"choices": [{"delta": {"tool_calls": [{"function": {"name": "now"}}]}}]}, True),
        ("openai", "chat.completions", {"choices": [{"delta": {"reasoning_details": [{"data": "EmwK"}]}}]}, True),
        ("openai", "completions", {"choices": [{"text": "", "token_ids": [7]}]}, True),
    ],
)  # fmt: skip
def test_the_first_event_that_bears_output(api: str, operation: str, event: Any, output: bool) -> None:
    found = opened(api, operation)
    named = b"event: contentBlockStart\n" if "start" in event else b""
    assert found.feed(named + b"data: %b\n\n" % json.dumps(event).encode()) is output


def test_small_elements_of_an_array_are_looked_at_in_part() -> None:
    found = document("generate", "generate", [{"text": "a"}] * 5000)
    assert 0 < found.state.output_events <= 1024
    many = stream("openai", "completions", {"choices": [{}] * 5000 + [text("a", None)["choices"][0]]})
    assert many.state.output_events == 0

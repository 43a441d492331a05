"""Tokens where servers really tell them, in streams and documents alike."""

from __future__ import annotations

import json
from typing import Any

import pytest

from extproc.answers import AnswerReader, answer_reader
from extproc.answers.answer_reader import DECODERS
from extproc.answers.wire.bounded_buffer import MAX_WHOLE
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


def chunk(content: str = "", finish: str | None = None, **more: Any) -> dict[str, Any]:
    return {"choices": [{"index": 0, "delta": {"content": content}, "finish_reason": finish, **more}]}


SAID = {"prompt_tokens": 20, "completion_tokens": 9}
MOONSHOT = {"prompt_tokens": 20, "completion_tokens": 9, "cached_tokens": 8}
DEEPSEEK = SAID | {"prompt_cache_hit_tokens": 8, "prompt_cache_miss_tokens": 12}


@pytest.mark.parametrize(
    ("last", "tokens"),
    [
        (chunk(finish="stop", usage=MOONSHOT), (20, 9, 8)),
        (chunk(finish="stop") | {"x_groq": {"id": "r", "usage": SAID}}, (20, 9, None)),
        (chunk(finish="stop") | {"usage": DEEPSEEK}, (20, 9, 8)),
        (chunk(finish="stop") | {"usage": DEEPSEEK | {"prompt_tokens_details": {"cached_tokens": 8}}}, (20, 9, 8)),
        (chunk(finish="stop") | {"usage": MOONSHOT}, (20, 9, 8)),
        (chunk("b", "length") | {"usage": {"input_tokens": 20, "completion_tokens": 9}}, (20, 9, None)),
        (chunk(finish="stop") | {"usage": {"input_tokens": 20, "output_tokens": 9}}, (20, 9, None)),
        (chunk(finish="stop") | {"usage": {"prompt_tokens": 0, "completion_tokens": 0}, "x_groq": {"usage": SAID}},
         (20, 9, None)),
    ],
)  # fmt: skip
@pytest.mark.parametrize(("api", "operation"), [("openai", "chat.completions"), ("azure", "completions")])
def test_usage_of_chats(api: str, operation: str, last: Any, tokens: tuple[int | None, ...]) -> None:
    assert read(api, operation, chunk("a"), last).counts() == tokens
    assert document(api, operation, last).counts() == tokens


def test_usage_of_each_choice() -> None:
    choices = [{"index": n, "finish_reason": "stop", "usage": MOONSHOT | {"completion_tokens": n}} for n in (4, 5)]
    assert document("openai", "chat.completions", {"choices": choices}).counts() == (20, 9, 8)


@pytest.mark.parametrize(
    ("api", "operation", "body", "tokens"),
    [
        ("vllm", "rerank", {"usage": {"total_tokens": 62}}, 62),
        ("vllm", "rerank", {"usage": {"total_tokens": 62, "prompt_tokens": 61}}, 61),
        ("vllm", "rerank", {"meta": {"tokens": {"input_tokens": 41, "output_tokens": 0}}}, 41),
        ("vllm", "rerank", {"meta": {"billed_units": {"input_tokens": 41}}}, 41),
        ("vllm", "rerank", [{"score": n, "meta_info": {"prompt_tokens": n}} for n in (5, 6, 7)], 18),
        ("vllm", "classify", [{"embedding": [0.5], "meta_info": {"prompt_tokens": 5}}], 5),
        ("openai", "embeddings", {"data": [], "usage": {"total_tokens": 62}}, 62),
        ("openai", "embeddings", {"data": [], "usage": {"input_tokens": 62}}, 62),
        ("azure", "embeddings", {"data": [], "usage": {"prompt_tokens": 0, "total_tokens": 62}}, 62),
        ("cohere", "rerank", {"results": [], "usage": {"total_tokens": 62}}, 62),
        ("cohere", "embed", {"meta": {"billed_units": {"input_tokens": 62.0}}}, 62),
        ("vertex", "embedContent", {"embedding": {}, "usageMetadata": {"promptTokenCount": 62}}, 62),
        (
            *("vertex", "predict"),
            {"predictions": [{"embeddings": {"statistics": {"token_count": n}}} for n in (4.0, 5, 6)]},
            15,
        ),
    ],
)
def test_input_of_what_has_no_output(api: str, operation: str, body: Any, tokens: int) -> None:
    assert document(api, operation, body).counts()[0] == tokens


UNITS = {"input_tokens": 5, "output_tokens": 7}


@pytest.mark.parametrize(
    "event",
    [
        {"type": "message-end", "delta": {"finish_reason": "COMPLETE", "usage": {"billed_units": UNITS}}},
        {"event_type": "stream-end", "response": {"meta": {"billed_units": UNITS}}},
    ],
)
def test_billed_units_where_no_tokens_are_told(event: Any) -> None:
    assert read("cohere", "chat", event).counts() == (5, 7, None)


def test_tgi_tells_the_input_in_the_last_event() -> None:
    details = {"finish_reason": "length", "generated_tokens": 1, "input_length": 17}
    last = {"token": {"id": 2, "text": "b"}, "generated_text": "b", "details": details}
    assert read("generate", "generate_stream", last).counts() == (17, 1, None)


def sglang(prompt: int, output: int, index: int | None = None) -> dict[str, Any]:
    info = {"meta_info": {"prompt_tokens": prompt, "completion_tokens": output, "cached_tokens": 1}}
    return {"text": "a", **info, **({} if index is None else {"index": index})}


def test_parts_of_a_batch_are_summed() -> None:
    events = [sglang(4, 1, 0), sglang(6, 1, 1), sglang(4, 2, 0), sglang(6, 3, 1)]
    assert read("generate", "generate", *events, b"[DONE]").counts() == (10, 5, 2)
    assert document("generate", "generate", [sglang(4, 2), sglang(6, 3)]).counts() == (10, 5, 2)
    assert document("generate", "generate", [sglang(4, 2, 0), sglang(6, 3, 1)]).counts() == (10, 5, 2)
    assert read("generate", "generate", sglang(4, 1), sglang(4, 2)).counts() == (4, 2, 1)


LONG = {"data": [{"index": 0, "embedding": [0.5] * (MAX_WHOLE // 4)}]}
USAGE = {"usage": {"prompt_tokens": 9, "total_tokens": 9}}


@pytest.mark.parametrize("body", [USAGE | LONG, LONG | USAGE, {"usage": {"total_tokens": 9}} | LONG])
def test_usage_before_and_behind_large_data(body: Any) -> None:
    assert document("openai", "embeddings", body).counts()[0] == 9


@pytest.mark.parametrize("name", ["type", "usage"])
def test_an_image_in_one_event(name: str) -> None:
    told = {"usage": {"input_tokens": 9, "output_tokens": 4}, "type": "image_generation.completed"}
    event = {name: told[name], "type": told["type"], "b64_json": "x" * MAX_WHOLE} | told
    assert read("openai", "images.generations", event).counts() == (9, 4, None)


def test_the_kind_of_a_long_event_that_the_wire_does_not_name() -> None:
    found = read("openai", "images.generations", {"type": "image_generation.completed", "b64_json": "x" * MAX_WHOLE})
    assert (found.state.complete, found.state.output_events) == (True, 1)


@pytest.mark.parametrize("order", [1, -1])
def test_numbers_of_a_long_document_itself(order: int) -> None:
    pairs = [("embeddings", [[0.5] * (MAX_WHOLE // 4)]), ("prompt_eval_count", 9)][::order]
    assert document("ollama", "embed", dict(pairs)).counts() == (9, None, None)


def test_of_a_long_batch_nothing_is_told_rather_than_its_last_part() -> None:
    batch = [sglang(4, 2) | {"text": "x" * 1000} for _ in range(MAX_WHOLE // 1000)]
    assert document("generate", "generate", batch).counts() == (None, None, None)


ZERO = {"prompt_tokens": 0, "completion_tokens": 0}


@pytest.mark.parametrize("later", [ZERO, {}, None, {"completion_tokens": 3}, {"prompt_tokens": 2}])
def test_what_is_less_or_missing_replaces_nothing(later: Any) -> None:
    events = [chunk("a") | {"usage": SAID}, chunk("b") | {"usage": later}, chunk(finish="stop") | {"usage": later}]
    assert read("openai", "chat.completions", *events).counts() == (20, 9, None)


def anthropic(**usage: int) -> dict[str, Any]:
    return {"type": "message_delta", "delta": {}, "usage": usage}


START = {"type": "message_start", "message": {"usage": {"input_tokens": 100, "output_tokens": 1}}}


@pytest.mark.parametrize(
    ("ends", "tokens"),
    [
        ([anthropic(output_tokens=5)], (100, 5, None)),
        ([anthropic(input_tokens=0, output_tokens=5)], (100, 5, None)),
        # Some estimate the input first, and tell later which of it was cached: it is not more for that.
        ([anthropic(input_tokens=20, cache_read_input_tokens=80, output_tokens=5)], (100, 5, 80)),
        ([anthropic(input_tokens=30, cache_read_input_tokens=80, output_tokens=5)], (110, 5, 80)),
        ([anthropic(output_tokens=5), anthropic(output_tokens=0)], (100, 5, None)),
    ],
)
def test_counts_of_messages_never_fall(ends: list[Any], tokens: tuple[int | None, ...]) -> None:
    assert read("anthropic", "messages", START, *ends).counts() == tokens


def test_thoughts_that_only_the_first_events_tell() -> None:
    events = [
        {"usageMetadata": {"promptTokenCount": 9, "thoughtsTokenCount": 50}},
        {"usageMetadata": {"promptTokenCount": 9, "candidatesTokenCount": 30}},
        {"usageMetadata": {"candidatesTokenCount": 0}},
    ]
    assert read("gemini", "streamGenerateContent", *events).counts() == (9, 80, None)

"""What answers tell: documents of every API, shapes of the whole table, and what can't be read."""

from __future__ import annotations

import gzip
import json
import zlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from extproc.answers import answer_reader
from extproc.answers.answer_reader import DECODERS
from extproc.answers.wire.bounded_buffer import MAX_WHOLE
from extproc.answers.wire.decoder import EVENTS_PER_PIECE, MAX_EVENTS
from extproc.apis.answer_table import HEADERS, SHAPES
from extproc.headers import Headers
from tests.unit.answers.answered import answer, read


def document(api: str, operation: str, body: Any, **headers: str) -> tuple[int | None, int | None, int | None]:
    """The tokens of an answer that is one document, in two pieces."""
    found = answer(api, operation, "application/json; charset=utf-8", **headers)
    text = json.dumps(body).encode()
    assert not found.feed(text[:7])
    assert not found.feed(text[7:])
    found.end()
    assert not found.state.failed
    return found.counts()


CHAT = {"choices": [{"message": {"content": "…"}}]}
OPENAI = {"prompt_tokens": 9, "completion_tokens": 12, "prompt_tokens_details": {"cached_tokens": 4}}
NEWER = {"input_tokens": 9, "output_tokens": 12, "input_tokens_details": {"cached_tokens": 4}}
ANTHROPIC = {"input_tokens": 3, "cache_read_input_tokens": 4, "cache_creation_input_tokens": 2, "output_tokens": 12}
CONVERSE = {"inputTokens": 3, "cacheReadInputTokens": 4, "cacheWriteInputTokens": 2, "outputTokens": 12}
GEMINI = {"promptTokenCount": 9, "candidatesTokenCount": 8, "thoughtsTokenCount": 4, "cachedContentTokenCount": 4}


@pytest.mark.parametrize(
    ("api", "operation", "body", "tokens"),
    [
        ("openai", "chat.completions", CHAT | {"usage": OPENAI}, (9, 12, 4)),
        ("openai", "chat.completions", CHAT | {"usage": None}, (None, None, None)),
        ("azure", "completions", {"usage": OPENAI}, (9, 12, 4)),
        ("openai", "responses", {"usage": NEWER, "error": None}, (9, 12, 4)),
        ("openai", "embeddings", {"data": [], "usage": {"prompt_tokens": 9, "total_tokens": 9}}, (9, None, None)),
        ("openai", "images.generations", {"data": [{"b64_json": "x" * MAX_WHOLE}], "usage": NEWER}, (9, 12, 4)),
        ("openai", "audio.transcriptions", {"text": "…", "usage": {"type": "tokens"} | NEWER}, (9, 12, 4)),
        ("anthropic", "messages", {"type": "message", "usage": ANTHROPIC}, (9, 12, 4)),
        ("vertex", "rawPredict", {"type": "message", "usage": ANTHROPIC}, (9, 12, 4)),
        ("vertex", "generateContent", {"usageMetadata": GEMINI}, (9, 12, 4)),
        ("gemini", "chat.completions", {"usage": OPENAI}, (9, 12, 4)),
        ("cohere", "chat", {"usage": {"tokens": {"input_tokens": 9.0, "output_tokens": 12.0}}}, (9, 12, None)),
        ("cohere", "chat", {"meta": {"tokens": {"input_tokens": 9, "output_tokens": 12}}}, (9, 12, None)),
        ("cohere", "embed", {"meta": {"billed_units": {"input_tokens": 9}}}, (9, None, None)),
        ("bedrock", "converse", {"usage": CONVERSE}, (9, 12, 4)),
        ("bedrock", "invoke", {"type": "message", "usage": ANTHROPIC}, (9, 12, 4)),
        ("ollama", "chat", {"done": True, "prompt_eval_count": 9, "eval_count": 12}, (9, 12, None)),
        ("ollama", "embed", {"embeddings": [], "prompt_eval_count": 9}, (9, None, None)),
        (
            "generate",
            "generate",
            {"text": "…", "meta_info": {"prompt_tokens": 9, "completion_tokens": 12}},
            (9, 12, None),
        ),
        ("generate", "generate", [{"generated_text": "…", "details": {"generated_tokens": 12}}], (None, 12, None)),
        ("vllm", "score", {"usage": {"prompt_tokens": 9}}, (9, None, None)),
        ("vllm", "inference.generate", {"request_id": "1", "choices": [], "usage": OPENAI}, (9, 12, 4)),
        ("mlflow", "invocations", CHAT | {"usage": OPENAI}, (9, 12, 4)),
        ("triton", "generate", {"text_output": "…"}, (None, None, None)),
    ],
)
def test_tokens_of_documents(api: str, operation: str, body: Any, tokens: tuple[int | None, ...]) -> None:
    assert document(api, operation, body) == tokens


@pytest.mark.parametrize("count", [-1, 1.5, "9", True, None, [9], 1 << 60])
def test_a_count_that_is_none_is_not_told(count: object) -> None:
    assert document("openai", "embeddings", {"usage": {"prompt_tokens": count}}) == (None, None, None)


def test_tokens_in_headers_count_where_the_body_tells_none() -> None:
    names = dict(zip(("x_prompt_tokens", "x_generated_tokens"), ("9", "12"), strict=True))
    assert document("generate", "generate", {"generated_text": "…"}, **names) == (9, 12, None)
    assert document("generate", "generate", {"details": {"generated_tokens": 3}}, **names) == (None, 3, None)
    assert document("generate", "generate", {"meta_info": {"cached_tokens": 4}}, **names) == (9, 12, 4)
    assert document("generate", "generate", {"meta_info": {"prompt_tokens": 5}}, **names) == (5, None, None)
    for input_count, output in (("many", "9" * 16), ("²", "-1"), ("\u0663", "1.0"), ("", "")):
        nonsense = {"x_prompt_tokens": input_count, "x_generated_tokens": output}
        assert document("generate", "generate", {}, **nonsense) == (None, None, None)
    longest = {"x_prompt_tokens": "9" * 15, "x_generated_tokens": "0"}
    assert document("generate", "generate", {}, **longest) == (10**15 - 1, 0, None)
    assert "x-prompt-tokens" in HEADERS


@pytest.mark.parametrize("size", [100, MAX_WHOLE, 5 * MAX_WHOLE])
def test_usage_at_the_end_of_a_long_document(size: int) -> None:
    vectors = {"data": [{"embedding": [0.123] * (size // 7)}], "model": "e", "usage": {"prompt_tokens": 9}}
    assert document("openai", "embeddings", vectors) == (9, None, None)
    text = {"choices": ['"usage":{"prompt_tokens":1}' * (size // 20)], "usage": {"prompt_tokens": 9}}
    assert document("openai", "embeddings", text) == (9, None, None)


@pytest.mark.parametrize(
    "body", [b"", b"{", b"[]", b"null", b'"text"', b"[1]", b"[" * 100_000, b'{"usage":' * 70_000, b"\xff"]
)
def test_a_document_that_is_none_tells_nothing(body: bytes) -> None:
    found = answer("openai", "chat.completions", "application/json")
    found.feed(body)
    assert not found.end()
    assert found.counts() == (None, None, None)
    assert not found.state.failed


@pytest.mark.parametrize(
    ("api", "operation", "kind"),
    [
        ("openai", "moderations", "application/json"),
        ("oip", "infer", "application/json"),
        ("vllm", "generate", "application/json"),
        ("made-up", "chat.completions", "text/event-stream"),
    ],
)
def test_answers_that_tell_nothing(api: str, operation: str, kind: str) -> None:
    assert answer_reader(api, operation, Headers.of([("content-type", kind), ("content-length", "9")])) is None


@pytest.mark.parametrize("kind", ["audio/mpeg; x=1", "", "text/html"])
def test_sound_of_known_length_tells_nothing(kind: str) -> None:
    found = answer("openai", "audio.speech", kind, content_length="9")
    assert not found.feed(b"ID3\xff\xfb\x00\x00\x00\x00")
    assert (found.end(), found.streamed, found.has_end_mark, found.counts()) == (
        False,
        False,
        False,
        (None, None, None),
    )


def test_sound_that_comes_piece_by_piece_is_output_from_its_first_byte() -> None:
    found = answer("openai", "audio.speech", "audio/mpeg")
    assert (found.feed(b""), found.feed(b"\xff\xfb"), found.streamed, found.has_end_mark, found.pieces_are_tokens) == (
        *(False, True, True),
        *(False, False),
    )


def test_a_document_in_the_place_of_sound_is_no_output() -> None:
    found = answer("openai", "audio.speech", "application/json")
    assert (found.feed(b'"no such '), found.feed(b'voice"'), found.end(), found.streamed) == (False,) * 4


STREAM = b'data: {"choices":[{"delta":{"content":"x"}}]}\n\n'


def test_packed_streams() -> None:
    found = answer("openai", "chat.completions", content_encoding="gzip")
    assert found.feed(gzip.compress(STREAM * 3))
    assert found.state.output_events == 3
    assert (found.malformed, found.expanded, answer("openai", "chat.completions").expanded) == (
        False,
        3 * len(STREAM),
        0,
    )


def test_an_end_that_is_one_line_too_many() -> None:
    found = answer("openai", "chat.completions")
    assert not found.feed(b":\n" * 1999 + STREAM.rstrip())
    assert (found.end(), found.malformed) == (False, True)


@pytest.mark.parametrize("coding", ["gzip", "new", "gzip, br"])
def test_a_coding_that_cannot_be_undone_is_given_up(coding: str) -> None:
    found = answer("openai", "chat.completions", content_encoding=coding)
    assert not found.feed(STREAM)
    assert not found.feed(STREAM)
    assert not found.end()
    assert found.malformed


@pytest.mark.parametrize(
    "data",
    [
        b'"\\ud83d"',  # half of an emoji, as servers write it that count in UTF-16
        b'"\xf0\x9f"',  # bytes of a character's beginning
        b'"x","logprob":NaN',
        b'"x","logprob":-Infinity',
        b'"a\tb\x01"',
    ],
)
def test_careless_json_is_read(data: bytes) -> None:
    found = answer("openai", "chat.completions")
    assert found.feed(b'data: {"choices":[{"delta":{"content":' + data + b"}}]}\n\n")
    assert found.state.output_events == 1
    found = answer("openai", "completions", "application/json")
    found.feed(b'{"usage":{"prompt_tokens":9},"text":' + data + b"}")
    found.end()
    assert found.counts() == (9, None, None)


@pytest.mark.parametrize(
    "data",
    [
        *(b"{}", b"{", b"null", b"[]", b"1", b'{"choices":null}', b'{"choices":[]}', b'{"choices":{}}'),
        *(b'{"choices":[null]}', b'{"choices":[{"delta":null}]}', b'{"choices":[{"delta":[]}]}'),
        *(b'{"choices":[{"delta":{"role":"assistant","content":""}}]}', b'{"choices":[{"delta":{"content":null}}]}'),
        *(b'{"choices":[{"delta":{"tool_calls":[]}}]}', b'{"error":null,"usage":{"completion_tokens":{}}}'),
    ],
)
def test_no_token(data: bytes) -> None:
    found = answer("openai", "chat.completions")
    assert not found.feed(b"data: " + data + b"\n\n")
    assert (found.state.output_events, found.state.failed, found.state.over) == (0, False, False)


@pytest.mark.parametrize(
    "delta",
    [
        *({"content": "x"}, {"reasoning_content": "x"}, {"reasoning": "x"}, {"refusal": "x"}, {"audio": {"id": 1}}),
        *({"content": "", "tool_calls": [{"index": 0}]}, {"content": [{"type": "text"}]}),
    ],
)
def test_tokens(delta: dict[str, Any]) -> None:
    found = answer("openai", "chat.completions")
    event = {"choices": [{"delta": {}}, {"delta": delta}]}
    assert found.feed(b"data: " + json.dumps(event).encode() + b"\n\n")


@pytest.mark.parametrize(("kind", "output"), [("response.output_text.delta", True), ("response.completed", False)])
def test_an_event_that_is_too_long_is_output_where_its_kind_says_so(kind: str, output: bool) -> None:
    found = answer("openai", "responses")
    told = {"type": kind, "delta": "x" * MAX_WHOLE, "response": {"usage": NEWER}}
    assert found.feed(f"event: {kind}\ndata: {json.dumps(told)}\n\n".encode()) is output
    assert (found.state.output_events, found.counts()) == (int(output), (9, 12, 4))


def test_usage_in_every_chunk_counts_once() -> None:
    found = answer("openai", "chat.completions")
    for n in (1, 2, 3):
        found.feed(b'data: {"choices":[],"usage":{"prompt_tokens":5,"completion_tokens":%d}}\n\n' % n)
    assert found.counts() == (5, 3, None)


def test_how_many_tokens_a_stream_began_with_is_not_how_many_it_has() -> None:
    found = answer("anthropic", "messages")
    found.feed(b'data: {"type":"message_start","message":{"usage":{"input_tokens":9,"output_tokens":1}}}\n\n')
    found.feed(b'data: {"type":"content_block_delta","delta":{"text":"a"}}\n\n' * 3)
    assert found.counts() == (9, None, None)
    found.feed(b'data: {"type":"message_delta","usage":{"output_tokens":5}}\n\n')
    assert found.counts() == (9, 5, None)


@pytest.mark.parametrize("operation", ["audio.transcriptions", "audio.translations"])
def test_transcripts_as_vllm_streams_them(operation: str) -> None:
    found = answer("openai", operation)
    assert not found.feed(b'data: {"object":"transcription.chunk","choices":[{"delta":{"content":""}}]}\n\n')
    assert found.feed(b'data: {"object":"transcription.chunk","choices":[{"delta":{"content":"a"}}]}\n\n')
    found.feed(b'data: {"choices":[],"usage":{"prompt_tokens":9,"completion_tokens":12}}\n\ndata: [DONE]\n\n')
    assert (found.counts(), found.state.complete) == ((9, 12, None), True)


@pytest.mark.parametrize(
    ("api", "operation", "body"),
    [
        ("gemini", "generateContent", {"candidates": [{"content": {"parts": [{"text": "…"}]}}]}),
        ("bedrock", "invoke", {"completion": "…"}),
        ("sagemaker", "invocations", {"choices": [{"text": "…"}]}),
        ("triton", "generate", {"text_output": "…"}),
    ],
)
def test_a_document_is_no_stream(api: str, operation: str, body: Any) -> None:
    found = answer(api, operation, "application/json")
    found.feed(json.dumps(body).encode())
    assert not found.streamed
    assert answer(api, operation).streamed


KEYS = (
    *("choices", "delta", "content", "usage", "type", "error", "message", "done", "text", "event_type", "details"),
    *("usageMetadata", "candidates", "parts", "token", "prompt_tokens", "eval_count", "response"),
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=4),
    max_leaves=12,
)


@given(JSON, st.sampled_from(["", "error", "ping", "content_block_delta", ":error", "response.x.delta"]))
def test_no_event_is_too_odd(event: Any, kind: str) -> None:
    text = f"event: {kind}\ndata: {json.dumps(event)}\n\n".encode()
    for api, operation in SHAPES:
        found = answer_reader(api, operation, Headers.of([("content-type", "text/event-stream")]))
        if found is not None:
            found.feed(text)
            found.end()
            assert all(count is None or count >= 0 for count in found.counts())


def test_tokens_in_tokens_out_as_vllm_streams_them() -> None:
    chunk = {"request_id": "1", "choices": [{"index": 0, "finish_reason": None, "token_ids": [7]}], "usage": None}
    end = {"request_id": "1", "choices": [], "usage": OPENAI}
    found = read("vllm", "inference.generate", chunk, chunk, end, b"[DONE]")
    assert (found.state.output_events, found.counts(), found.state.complete) == (2, (9, 12, 4), True)


def test_events_are_counted_by_the_bytes_on_the_wire() -> None:
    headers = Headers.of([("content-type", "application/x-ndjson"), ("content-encoding", "gzip")])
    found = answer_reader("ollama", "chat", headers)
    assert found is not None
    packer = zlib.compressobj(wbits=31)
    for _ in range(200):
        found.feed(packer.compress(b"{}\n" * 100) + packer.flush(zlib.Z_SYNC_FLUSH))
    assert found.malformed
    plain = answer_reader("ollama", "chat", Headers.of([("content-type", "application/x-ndjson")]))
    assert plain is not None
    plain.feed(b"{}\n" * (MAX_EVENTS + 1))
    assert plain.malformed
    for size, malformed in ((10, True), (11, False)):  # with their prefixes 15 and 16 bytes
        found = answer("vllm", "generate", "application/grpc")
        for _ in range(200):
            found.feed((bytes([0, 0, 0, 0, size, 0x0A, size - 2]) + bytes(size - 2)) * 250)
        assert (found.malformed, found.expanded) == (malformed, 0)


def test_what_comes_token_by_token_is_read_however_short_it_is() -> None:
    event = b'{"message":{"content":"a"}}\n'
    found = answer("ollama", "chat", "application/x-ndjson")
    for _ in range(5000):
        assert found.feed(event * EVENTS_PER_PIECE)
    assert found.state.output_events == found.events == 5000 * EVENTS_PER_PIECE
    for _ in range(5000):
        found.feed(event * (EVENTS_PER_PIECE + 8))
    assert found.malformed


def test_nothing_is_read_behind_what_ends_an_answer() -> None:
    whole, cut = (answer("openai", "chat.completions", "text/event-stream") for _ in range(2))
    end, behind = b"data: [DONE]\n\n", b'data: {"usage":{"prompt_tokens":5}}\n\n'
    whole.feed(end + behind)
    cut.feed(end)
    assert whole.state.over
    assert whole.counts() == cut.counts() == (None, None, None)


@pytest.mark.parametrize(
    ("kind", "streamed"),
    [
        *((kind, True) for kind in DECODERS),
        *(("Text/Event-Stream; charset=utf-8", True), ("application/json", False), ("text/plain", False), ("", False)),
    ],
)
def test_until_its_first_bytes_come_an_answer_is_what_its_type_says(kind: str, streamed: bool) -> None:
    found = answer("openai", "chat.completions", kind)
    assert (found.streamed, found.has_end_mark, found.pieces_are_tokens) == (streamed, streamed, True)
    assert not found.feed(b"")
    assert found.streamed is streamed


@pytest.mark.parametrize(("kind", "read"), [("application/grpc", True), ("application/grpc+proto", True), ("", False)])
def test_an_answer_of_grpc_has_its_type(kind: str, read: bool) -> None:
    found = answer_reader("oip", "stream_infer", Headers.of([("content-type", kind)] if kind else []))
    assert (found is not None) is read
    assert found is None or not found.has_end_mark


def test_a_listener_is_shown_every_document_that_is_whole() -> None:
    shown: list[bytes] = []
    kind = Headers.of([("content-type", "text/event-stream")])
    assert answer_reader("made-up", "chat", kind) is None
    found = answer_reader("made-up", "chat", kind, shown.append)
    assert found is not None
    long = b'data: {"error":"' + b"x" * MAX_WHOLE + b'"}\n\n'
    assert not found.feed(b'data: {"error":1}\n\ndata: {"a":2}\n\n')
    found.feed(long + b'data: {"a":3}')
    assert not found.end()
    assert shown == [b'{"error":1}', b'{"a":2}', b'{"a":3}']
    assert (found.state.failed, found.has_end_mark, found.pieces_are_tokens) == (False, False, False)
    batch = answer_reader("made-up", "chat", Headers.of([("content-type", "application/json")]), shown.append)
    assert batch is not None
    batch.feed(b'[{"a":4},')
    batch.feed(b'{"a":5}]')
    batch.end()
    assert shown[3:] == [b'[{"a":4},{"a":5}]']

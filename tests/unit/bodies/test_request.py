"""The typed request: edits of bodies, and what head and body contribute."""

from __future__ import annotations

import pytest

from extproc.bodies.json_reader import JsonReader
from extproc.bodies.request import (
    BodyEdit,
    BodyFields,
    InferenceRequest,
    Operation,
    complete_request,
    request_for_decision,
)

CHAT = Operation("openai", "chat.completions")
FIELDS = BodyFields("llama", "2", stream=True, adapter="lora", max_tokens=7, prompt_bytes=9)


def test_what_is_read_does_not_change() -> None:
    with pytest.raises(AttributeError):
        FIELDS.model = "other"  # type: ignore[misc]
    with pytest.raises(AttributeError):
        BodyEdit(0, 1, b"x").start = 1  # type: ignore[misc]


def test_what_is_not_said_is_not_known() -> None:
    request = InferenceRequest("openai", "completions", "llama")
    assert request == InferenceRequest("openai", "completions", "llama", None, False, None, None, 0)
    assert BodyFields() == BodyFields("", None, False, None, None, 0, "")


@pytest.mark.parametrize(
    ("edit", "body"),
    [
        (BodyEdit(1, 3, b"xyz"), b"axyzd"),
        (BodyEdit(0, 4, b""), b""),
        (BodyEdit(0, 0, b"x"), b"xabcd"),
        (BodyEdit(4, 4, b"x"), b"abcdx"),
        (BodyEdit(2, 2, b""), b"abcd"),
    ],
)
def test_an_edit_replaces_a_range(edit: BodyEdit, body: bytes) -> None:
    assert edit.apply(b"abcd") == body


def test_a_decision_depends_on_four_fields() -> None:
    assert request_for_decision(CHAT, FIELDS) == InferenceRequest("openai", "chat.completions", "llama", "2")


def test_a_complete_request_has_them_all() -> None:
    complete = InferenceRequest("openai", "chat.completions", "llama", "2", True, "lora", 7, 9)
    assert complete_request(CHAT, FIELDS) == complete


@pytest.mark.parametrize(("in_head", "in_body"), [(True, True), (True, False), (False, True), (False, False)])
def test_either_head_or_body_asks_for_a_stream(in_head: bool, in_body: bool) -> None:
    request = complete_request(Operation("vllm", "generate", stream=in_head), BodyFields(stream=in_body))
    assert request.stream is (in_head or in_body)


def test_the_head_names_model_and_version_the_body_the_operation() -> None:
    operation = Operation("mcp", "message", model="head", version="1")
    fields = BodyFields("body", "2", operation="tools/call")
    assert request_for_decision(operation, fields) == InferenceRequest("mcp", "tools/call", "head", "1")
    assert request_for_decision(operation, BodyFields()) == InferenceRequest("mcp", "message", "head", "1")
    assert request_for_decision(Operation("mcp", "message", model=""), fields).model == "body"


def test_a_request_for_another_model_asks_for_all_else_alike() -> None:
    request = InferenceRequest("openai", "completions", "llama", "2", True, "lora", 7, 9)
    other = request.asking_for("iris")
    assert other == InferenceRequest("openai", "completions", "iris", "2", True, "lora", 7, 9)
    assert other != request
    assert len({other, request, request.asking_for("llama")}) == 2
    assert repr(other) == "InferenceRequest('openai', 'completions', 'iris', '2', True, 'lora', 7, 9)"


def test_an_operation_whose_model_is_known_needs_no_reader() -> None:
    def rename(model: str) -> tuple[str, str]:
        return ":path", model

    operation = Operation("a", "b", None, "1", True, JsonReader(), rename, True, True, True, True)
    named = operation.naming("llama")
    assert (named.model, named.reader, named.rename) == ("llama", None, rename)
    for field in ("api", "name", "version", "stream", "uploads", "shared", "stateful", "any_path"):
        assert getattr(named, field) == getattr(operation, field)

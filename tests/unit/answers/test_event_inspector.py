"""Events by a shape of their own: kinds, output, ends, failures, and what is read of long or large ones."""

from __future__ import annotations

import json
from typing import Any

import pytest

from extproc.answers.answer_state import AnswerState
from extproc.answers.event_inspector import EventInspector
from extproc.answers.wire.decoder import ERROR, RAW_OUTPUT
from extproc.answers.wire.lenient_json import MAX_REFUSED
from extproc.apis.answer_shape import AnswerShape, Usage
from tests.unit.answers.answered import answer

SHAPE = AnswerShape(
    output=("/text", "/choices/*/text", "/choices/*/parts/*/text", "/a/b"),
    kind=("/type", "/event"),
    output_kinds=("delta", "x.*.delta", ""),
    end_kinds=("end",),
    finish_kinds=("finish",),
    error_kinds=("error", "*.failed"),
    ends=("/done", "/last/done"),
    finishes=("/reason", "/choices/*/reason"),
    errors=("/error", "/inner/error"),
    failures=("/reason=abort|error", "/choices/*/reason=abort"),
    usage=(
        Usage(("/usage",), ("i",), ("o",), ("c",), part_index="/n"),
        Usage(("/late",), ("i",), in_last_events=True),
        Usage(("/choices/*/usage",), ("i",), ("o",)),
    ),
)
INSPECTOR = EventInspector(SHAPE)


def inspected(*events: Any, kind: str = "", whole: bool = True) -> tuple[list[bool], AnswerState]:
    state = AnswerState()
    texts = [event if isinstance(event, bytes) else json.dumps(event).encode() for event in events]
    return [INSPECTOR.inspect(state, kind, text, whole) for text in texts], state


def flags(state: AnswerState) -> tuple[bool, bool, bool]:
    return state.complete, state.over, state.failed


@pytest.mark.parametrize(
    ("event", "output"),
    [
        ({"text": "a"}, True),
        ({"text": ""}, False),
        ({"text": "a", "type": "delta"}, True),
        ({"text": "a", "type": "x.y.delta"}, True),
        ({"text": "a", "type": "x.delta"}, False),
        ({"text": "a", "type": "x..delta"}, False),
        ({"text": "a", "type": "x.longer.delta"}, True),
        ({"text": "a", "type": "delta2"}, False),
        ({"text": "a", "type": "x.y.delta.z"}, False),
        ({"text": "a", "event": "ping"}, False),
        ({"text": "a", "type": 7, "event": "delta"}, True),
        ({"text": "a", "type": "ping", "event": "delta"}, False),
        ({"choices": [{"text": ""}, {"text": "a"}]}, True),
        ({"choices": [{"parts": [{}, {"text": "a"}]}]}, True),
        ({"choices": {"text": "a"}}, False),
        ({"choices": ["text"]}, False),
        ({"a": {"b": ["x"]}}, True),
        ({"a": {"b": []}}, False),
        ({"a": ["b"]}, False),
        ({"choices": [{}] * 255 + [{"text": "a"}]}, True),
        ({"choices": [{}] * 256 + [{"text": "a"}]}, False),
    ],
)
def test_output(event: Any, output: bool) -> None:
    found, state = inspected(event)
    assert (found, state.output_events, flags(state)) == ([output], int(output), (False, False, False))


@pytest.mark.parametrize(
    ("event", "wanted"),
    [
        ({"type": "end"}, (True, True, False)),
        ({"type": "finish"}, (True, False, False)),
        ({"done": True}, (True, True, False)),
        ({"done": {}}, (True, True, False)),
        ({"done": 0}, (True, True, False)),
        ({"done": False}, (False, False, False)),
        ({"done": None}, (False, False, False)),
        ({"last": {"done": True}}, (True, True, False)),
        ({"last": {"done": False}}, (False, False, False)),
        ({"reason": "stop"}, (True, False, False)),
        ({"reason": ""}, (False, False, False)),
        ({"choices": [{"reason": None}, {"reason": "stop"}]}, (True, False, False)),
        ({"choices": [{}] * 256 + [{"reason": "stop"}]}, (False, False, False)),
        ({"reason": "abort"}, (True, False, True)),
        ({"reason": "aborted"}, (True, False, False)),
        ({"choices": [{"reason": "abort"}]}, (True, False, True)),
        ({"type": "error"}, (False, True, True)),
        ({"type": "x.failed"}, (False, True, True)),
        ({"error": {"message": "no"}}, (False, True, True)),
        ({"error": {}}, (False, False, False)),
        ({"inner": {"error": "no"}}, (False, True, True)),
        ({"inner": {"error": ""}}, (False, False, False)),
        ({"inner": "error"}, (False, False, False)),
        (b"[DONE]", (True, True, False)),
        (b"  [DONE]  \t", (True, True, False)),
        (b"[DONE]" + b" " * 9, (True, True, False)),
        ({"type": "end", "text": "a"}, (True, True, False)),
        ({"type": "finish", "text": "a"}, (True, False, False)),
        ({"type": "error", "text": "a"}, (False, True, True)),
        ({"type": "end", "reason": "abort"}, (True, True, True)),
        ({"text": "a", "error": "no"}, (False, True, True)),
        (b" [DONE]" + b" " * 9, (False, False, False)),
    ],
)
def test_ends_and_failures(event: Any, wanted: tuple[bool, bool, bool]) -> None:
    output, state = inspected(event)
    assert (output, flags(state)) == ([False], wanted)


def test_the_framing_says_that_it_failed_or_that_it_is_output() -> None:
    assert inspected(b"x", kind=ERROR)[0] == [False]
    assert flags(inspected(b"x", kind=ERROR)[1]) == (False, True, True)
    output, state = inspected(b"", kind=RAW_OUTPUT)
    assert (output, state.output_events, flags(state)) == ([True], 1, (False, False, False))


def test_output_revokes_that_it_was_complete_but_not_that_it_is_over() -> None:
    assert flags(inspected({"reason": "stop"}, {"text": "a"})[1]) == (False, False, False)
    assert flags(inspected({"done": True}, {"text": "a"})[1]) == (True, True, False)
    assert flags(inspected({"reason": "stop"}, {"type": "ping"})[1]) == (True, False, False)
    output, state = inspected({"text": "a", "reason": "stop"}, {"text": "b", "reason": "abort"})
    assert (output, state.output_events, flags(state)) == ([True, True], 2, (True, False, True))


@pytest.mark.parametrize(
    ("events", "counts"),
    [
        ([{"text": "a", "usage": {"i": 1, "o": 2, "c": 0}}], (1, 2, 0)),
        ([{"text": "a", "late": {"i": 1}}], (None, None, None)),
        ([{"late": {"i": 1}}], (1, None, None)),
        ([{"text": "a", "reason": "stop", "late": {"i": 1}}], (1, None, None)),
        ([{"usage": {"i": 0}, "late": {"i": 3}}], (3, None, None)),
        ([{"usage": {"i": 1, "o": 1}, "n": 0}, {"usage": {"i": 1, "o": 4}, "n": 1}], (2, 5, None)),
        ([{"choices": [{"usage": {"i": 1, "o": 2}}, {"usage": {"i": 3, "o": 4}}]}], (4, 6, None)),
        ([[{"usage": {"i": 1, "o": 9}}, {"usage": {"i": 2, "o": 9}}, 7]], (3, 18, None)),
        ([{"usage": [1]}, {"usage": "x"}, {"usage": None}], (None, None, None)),
        ([[{"late": {"i": 1}}, {"late": {"i": 2}}]], (3, None, None)),
    ],
)
def test_counts(events: list[Any], counts: tuple[int | None, ...]) -> None:
    _, state = inspected(*events)
    assert INSPECTOR.counts(state) == counts


def test_a_batch_has_output_where_one_of_it_has() -> None:
    output, state = inspected([{"text": "a"}, {"text": ""}, {"text": "b", "id": "x" * 32}, "text"])
    assert (output, state.output_events) == ([True], 2)
    assert inspected([{}, {"text": ""}])[0] == [False]
    assert inspected([{"text": "a"}] * 320)[1].output_events == 320 * len(b'{"text": "a"}, ') // 32 + 1


@pytest.mark.parametrize("text", [b"null", b"7", b'"text"', b"true"])
def test_what_is_neither_object_nor_array_says_nothing(text: bytes) -> None:
    output, state = inspected(text, kind="end")
    assert (output, flags(state)) == ([False], (False, False, False))


def test_the_kind_counts_where_the_data_is_no_json() -> None:
    assert flags(inspected(b"no json", kind="end")[1]) == (True, True, False)
    assert flags(inspected(b"no json", kind="error")[1]) == (False, True, True)
    assert inspected(b"no json", kind="delta")[0] == [False]


LONG = b'{"type": "%b", "usage": {"i": 3}'


@pytest.mark.parametrize(
    ("text", "kind", "output", "wanted"),
    [
        (LONG % b"delta", "", True, (False, False, False)),
        (LONG % b"end", "", False, (True, True, False)),
        (LONG % b"x.failed", "", False, (False, True, True)),
        (LONG % b"end", "delta", True, (False, False, False)),
        (b'"usage": {"i": 3}}', "", True, (False, False, False)),
        (b'"usage": {"i": 3}}', "ping", False, (False, False, False)),
    ],
)
def test_events_of_which_only_the_ends_are_left(
    text: bytes, kind: str, output: bool, wanted: tuple[bool, bool, bool]
) -> None:
    found, state = inspected(text, kind=kind, whole=False)
    assert (found, flags(state), INSPECTOR.counts(state)) == ([output], wanted, (3, None, None))


def test_an_array_of_which_only_the_ends_are_left_has_no_counts() -> None:
    _, state = inspected(b'[{"usage": {"i": 3}}', whole=False)
    assert INSPECTOR.counts(state) == (None, None, None)


def test_without_kinds_of_output_a_long_event_is_none() -> None:
    state = AnswerState()
    assert not EventInspector(AnswerShape(output=("/text",))).inspect(state, "", b'{"text": "a', False)
    assert EventInspector(AnswerShape()).inspect(state, "", b'{"text": "a"}', True)
    assert not EventInspector(AnswerShape(output=("/text",))).inspect(state, "", b"{}", True)
    assert flags(state) == (False, False, False)


def test_kinds_without_end_are_read_and_not_remembered() -> None:
    inspector, state = EventInspector(SHAPE), AnswerState()
    for number in range(400):
        assert inspector.inspect(state, f"x.{number}.delta", b'{"text": "a"}', True)
    assert len(inspector._roles) == 256
    assert inspector.inspect(state, "x.999.delta", b'{"text": "a"}', True)


@pytest.mark.parametrize(
    ("event", "wanted"),
    [
        ({"text": "a"}, (False, False, False)),
        ({"text": "a", "done": True}, (True, True, False)),
        ({"text": "a", "reason": "stop"}, (True, False, False)),
        ({"text": "a", "reason": "abort"}, (True, False, True)),
    ],
)
def test_an_event_may_have_output_and_be_the_last(event: Any, wanted: tuple[bool, bool, bool]) -> None:
    output, state = inspected(event)
    assert (output, state.output_events, flags(state)) == ([True], 1, wanted)


def test_a_shape_without_finishes_is_never_complete_by_output() -> None:
    inspector, state = EventInspector(AnswerShape(output=("/text",), usage=SHAPE.usage)), AnswerState()
    assert inspector.inspect(state, "", b'{"text": "a", "late": {"i": 1}}', True)
    assert (flags(state), inspector.counts(state)) == ((False, False, False), (None, None, None))


def test_where_every_event_is_output_each_may_be_the_last() -> None:
    inspector, state = EventInspector(AnswerShape(usage=SHAPE.usage)), AnswerState()
    assert inspector.inspect(state, "", b'{"late": {"i": 1}, "object": "error"}', True)
    assert (state.output_events, flags(state), inspector.counts(state)) == (1, (True, False, True), (1, None, None))


@pytest.mark.parametrize(("size", "read"), [(1024, 1024), (1025, 1024)])
def test_1024_elements_of_an_array_are_read(size: int, read: int) -> None:
    output, state = inspected([{"text": "a", "id": "x" * 64}] * size)
    assert (output, state.output_events) == ([True], read)


@pytest.mark.parametrize("pointer", ["", "/usage", "/message/usage"])
def test_counts_of_events_with_output_are_where_the_pointer_says(pointer: str) -> None:
    inspector, state = EventInspector(AnswerShape(output=("/text",), usage=(Usage((pointer,), ("i",)),))), AnswerState()
    event = {"text": "a", "i": 1, "usage": {"i": 2}, "message": {"i": 3, "usage": {"i": 4}}}
    assert inspector.inspect(state, "", json.dumps(event).encode(), True)
    assert inspector.counts(state) == ({"": 1, "/usage": 2}.get(pointer, 4), None, None)


def test_what_is_nearly_json_is_read_until_a_hundred_events_were_none() -> None:
    nearly = b'data: {"choices":[{"delta":{"content":"a"}}],"x":NaN}\n\n'
    found = answer("openai", "chat.completions")
    assert found.feed(nearly)
    for _ in range(MAX_REFUSED):
        assert not found.feed(b"data: {no JSON at all}\n\n")
    assert not found.feed(nearly)
    assert found.feed(nearly.replace(b"NaN", b"1"))
    found = answer("openai", "chat.completions")
    for _ in range(MAX_REFUSED - 1):
        found.feed(b"data: {no JSON at all}\n\n")
    assert found.feed(nearly)

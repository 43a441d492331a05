"""Messages of gRPC answers by their shapes: output, counts, failures, and how many fields are read."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from extproc.answers.answer_state import AnswerState
from extproc.answers.message_inspector import MessageInspector
from extproc.apis.answer_shape import GrpcAnswerShape
from tests.unit.answers.answered import answer
from tests.unit.apis.requests import field

SHAPE = GrpcAnswerShape(
    output=("1.1",),
    ends=("2",),
    errors=("2.2=abort|error", "9"),
    input_tokens=("1.2", "2.3"),
    output_tokens=("1.3", "2.4"),
    cached_tokens=("1.4",),
)


def inspected(*messages: bytes) -> tuple[list[bool], AnswerState, tuple[int | None, ...]]:
    inspector, state = MessageInspector(SHAPE), AnswerState()
    output = [inspector.inspect(state, "", message, True) for message in messages]
    return output, state, inspector.counts(state)


def chunk(token: bytes = b"x", given: int = 5, output: int = 1) -> bytes:
    return field(1, field(1, token) + field(2, given) + field(3, output))


def test_output_and_counts() -> None:
    output, state, counts = inspected(chunk(), chunk(b""), chunk(given=0, output=3), chunk(given=4, output=2))
    assert (output, state.output_events, counts) == ([True, False, True, True], 3, (5, 3, None))
    assert (state.complete, state.over, state.failed) == (False, False, False)
    assert inspected(b"")[2] == (None, None, None)


def test_the_last_of_several_fields_counts() -> None:
    assert inspected(field(1, field(2, 5)) + field(2, field(3, 7)))[2] == (7, None, None)
    assert inspected(field(1, field(4, 2)))[2] == (None, None, 2)
    assert inspected(field(1, field(4, 100)))[2] == (None, None, 100)


@pytest.mark.parametrize("end", [field(2, b""), field(2, field(2, b"stop")), field(2, field(2, b""))])
def test_an_end_is_not_over_since_the_status_follows(end: bytes) -> None:
    _, state, _ = inspected(end)
    assert (state.complete, state.over, state.failed) == (True, False, False)


@pytest.mark.parametrize(
    ("message", "failed"),
    [
        (field(2, field(2, b"abort")), True),
        (field(2, field(2, b"error") + field(3, 7)), True),
        (field(2, field(2, b"errors")), False),
        (field(2, field(2, 1)), False),
        (field(9, b"no"), True),
        (field(9, b""), False),
        (field(9, 0), True),
    ],
)
def test_failures(message: bytes, failed: bool) -> None:
    output, state, counts = inspected(message + chunk())
    assert (output, state.failed, state.over) == ([not failed], failed, failed)
    assert failed is (counts == (None, None, None))


def test_fields_that_the_shape_does_not_name() -> None:
    assert inspected(field(7, chunk()) + field(1, 3) + field(1, field(9, b"x")))[0] == [False]


def test_bytes_that_are_no_message() -> None:
    output, state, counts = inspected(b"\x0a\x7f", chunk())
    assert (output, counts) == ([False, False], (None, None, None)), "nothing that follows is read"
    assert not state.failed


def test_24_fields_of_each_message_are_free() -> None:
    free, one_more = field(7, 1) * 24, field(7, 1) * 25
    assert inspected(*[free] * 2000, chunk())[0][-1]
    assert inspected(*[one_more] * 900, chunk())[0][-1]
    assert not inspected(*[one_more] * 1100, chunk())[0][-1]


@pytest.mark.parametrize(("fields", "read"), [(997, True), (998, False)])
def test_fields_of_one_message(fields: int, read: bool) -> None:
    message = field(7, 1) * (fields - 1) + field(1, field(1, b"x") + field(7, 1))
    assert inspected(message + field(7, 1))[0] == [read]


def test_fields_of_all_messages() -> None:
    small = field(7, 1) * 24
    assert inspected(*[small] * 100, chunk())[0][-1]
    large = field(7, 1) * 124
    output, _, _ = inspected(*[large] * 9, chunk())
    assert output[-1]
    output, _, _ = inspected(*[large] * 10, chunk())
    assert not output[-1]


@pytest.mark.parametrize(
    "other",
    [field(7, b"\xff"), field(2, 1), field(1, 5), field(1, field(2, b"")), field(1, field(9, b"\xff")), field(3, 0)],
)
def test_a_field_of_another_form_is_passed_over(other: bytes) -> None:
    assert inspected(other + chunk())[::2] == ([True], (5, 1, None))
    assert inspected(chunk() + other)[::2] == ([True], (5, 1, None))


def test_a_count_that_is_no_number_counts_nothing() -> None:
    assert inspected(field(1, field(2, b"x")))[2] == (0, None, None)
    assert inspected(chunk(), field(1, field(2, b"xyz") + field(3, b"x")))[2] == (5, 1, None)


def test_each_message_is_a_token_and_none_says_that_it_is_the_last() -> None:
    inspector = MessageInspector(SHAPE)
    assert (inspector.pieces_are_tokens, inspector.has_end_mark) == (True, False)


@given(st.binary(max_size=60))
def test_no_message_is_too_odd(message: bytes) -> None:
    for api, operation in (("vllm", "generate"), ("oip", "stream_infer"), ("torchserve", "stream_predictions")):
        found = answer(api, operation, "application/grpc")
        found.feed(b"\0" + len(message).to_bytes(4) + message)
        found.end()
        assert not found.malformed


def in_messages(*data: bytes) -> bytes:
    """Each in a message of gRPC, of the type ``google.api.HttpBody``."""
    fields = [b"\x12" + bytes((len(piece) & 0x7F | 0x80, len(piece) >> 7)) + piece for piece in data]
    return b"".join(b"\0" + len(field).to_bytes(4) + field for field in fields)


def test_tokens_of_chat_over_grpc() -> None:
    """As Vertex AI's ``ChatCompletions``: the body that it has over HTTP, in messages."""
    usage = {"prompt_tokens": 9, "completion_tokens": 12, "prompt_tokens_details": {"cached_tokens": 4}}
    events = [{"choices": [{"delta": {"content": "a"}}]}, {"choices": [{"finish_reason": "stop"}], "usage": usage}]
    streamed = answer("vertex", "chat.completions", "application/grpc")
    texts = [b"data: %b\n\n" % json.dumps(event).encode() for event in events]
    assert [streamed.feed(in_messages(text)) for text in texts] == [True, False]
    assert (streamed.counts(), streamed.streamed, streamed.has_end_mark) == ((9, 12, 4), True, False)
    whole = answer("vertex", "chat.completions", "application/grpc")
    assert not whole.feed(
        in_messages(json.dumps({"choices": [{"message": {"content": "…"}}], "usage": usage}).encode())
    )
    whole.end()
    assert (whole.counts(), whole.streamed, whole.malformed) == ((9, 12, 4), False, False)

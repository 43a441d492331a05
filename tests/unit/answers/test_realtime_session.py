"""Sessions of realtime APIs: whose an event is, when an answer begins and ends, and what is noted of each."""

from __future__ import annotations

import json
import tracemalloc
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from extproc.answers.realtime_session import MAX_OPEN, RealtimeSession, SessionAnswer, realtime_session
from extproc.answers.wire.bounded_buffer import MAX_WHOLE
from extproc.answers.wire.lenient_json import MAX_REFUSED
from extproc.apis import TABLE
from extproc.apis.answer_table import SESSIONS
from extproc.headers import Headers
from tests.unit.answers.realtime_events import created, delta, done, failed, said
from tests.unit.answers.wire.test_websocket import Packer, frame

HEARD = "conversation.item.input_audio_transcription"
COMMITTED = said("input_audio_buffer.committed", item_id="i1")
TRANSCRIBES = said("session.updated", session={"type": "transcription"})


def opened(extensions: str = "") -> RealtimeSession:
    found = realtime_session("openai", "realtime", Headers.of([("sec-websocket-extensions", extensions)]))
    assert found is not None
    return found


def listen(*pieces: bytes) -> list[SessionAnswer]:
    """One second passes between two pieces, the first of which comes at 10."""
    one = opened()
    return [answer for now, piece in enumerate(pieces, 10) for answer in one.feed(piece, float(now))]


def test_every_session_is_of_a_row() -> None:
    assert set(SESSIONS) <= {(row.api, row.operation) for row in TABLE}
    assert realtime_session("openai", "chat.completions", Headers()) is None


@pytest.mark.parametrize(
    "kind",
    [
        *("output_text", "output_audio", "output_audio_transcript", "function_call_arguments", "mcp_call_arguments"),
        *("text", "audio", "audio_transcript"),
    ],
)
def test_an_answer_from_its_acknowledgement_to_its_end(kind: str) -> None:
    pieces = (said("session.created", session={"type": "realtime"}), created(), said("rate_limits.updated"))
    (found,) = listen(*pieces, delta(kind=kind, text=""), delta(kind=kind), delta(kind=kind), done())
    assert (found.began, found.first_token, found.last_token, found.ended, found.error) == (11.0, 14.0, 15.0, 16.0, "")
    assert (found.reader.counts(), found.reader.state.output_events, found.reader.streamed) == ((21, 17, 8), 2, True)


@pytest.mark.parametrize(
    ("status", "error"),
    [("completed", ""), ("incomplete", ""), ("failed", "error_in_stream"), ("cancelled", "client_left")],
)
@pytest.mark.parametrize("size", [1, 2 * MAX_WHOLE])
def test_how_an_answer_ended(status: str, error: str, size: int) -> None:
    output = [{"id": "i", "status": "completed", "content": "x" * size}]
    (found,) = listen(created(), delta(), done(status=status, output=output))
    assert (found.error, found.ended, found.reader.counts()) == (error, 12.0, (21, 17, 8))


def test_answers_at_once_are_told_apart() -> None:
    first, second = listen(created("a"), created("b"), delta("b"), delta("a"), done("b"), delta("a"), done("a"))
    assert (first.key, first.began, first.first_token, first.last_token, first.ended) == ("b", 11.0, 12.0, 12.0, 14.0)
    assert (second.key, second.began, second.first_token, second.last_token, second.ended) == (
        "a",
        10.0,
        13.0,
        15.0,
        16.0,
    )


def test_sound_that_is_too_long_to_be_kept_is_output() -> None:
    long = delta("b", "output_audio", "A" * 3 * MAX_WHOLE)
    pieces = [long[at : at + 99_999] for at in range(0, len(long), 99_999)]
    (found,) = listen(created("a"), created("b"), *pieces, done("b"))
    assert (found.key, found.first_token, found.reader.state.output_events) == ("b", 11.0 + len(pieces), 1)


@pytest.mark.parametrize(
    "data",
    [
        *(b"", b"{", b"[]", b"null", b'{"type":1}', b'{"type":"response.text.delta"}', b"\xff", bytes(2 * MAX_WHOLE)),
        *(b'{"type":"response.done"', b'{"type":"response.done","response":7,"x":' + b"[" * 5000),
        *(
            b'{"type":"' + b"x" * 2 * MAX_WHOLE,
            b'{"response":{"type":"response.done"},"x":"' + b"x" * 2 * MAX_WHOLE + b'"}',
        ),
    ],
)
def test_what_is_no_event_tells_nothing(data: bytes) -> None:
    assert listen(frame(data), delta(), delta("other")) == []


def test_an_end_without_a_beginning_is_counted_and_not_timed() -> None:
    (found,) = listen(delta(), done())
    assert (found.began, found.first_token, found.ended, found.reader.counts()) == (None, None, 11.0, (21, 17, 8))


@pytest.mark.parametrize(
    ("pieces", "errors"),
    [
        ([failed("invalid_request_error")], []),
        ([failed("server_error")], ["error_in_stream"]),
        ([said("error", error="out of memory", code="processing_error")], ["error_in_stream"]),
        ([created(), failed("server_error"), done(status="failed")], ["error_in_stream"]),
        ([created(), failed("server_error"), done()], [""]),
    ],
)
def test_errors_of_no_answer(pieces: list[bytes], errors: list[str]) -> None:
    assert [answer.error for answer in listen(*pieces)] == errors


USAGE = {"type": "tokens", "input_tokens": 9, "output_tokens": 4}
HEARING = [
    COMMITTED,
    said(f"{HEARD}.delta", item_id="i1", delta="a"),
    said(f"{HEARD}.delta", item_id="i1", delta="b"),
    said(f"{HEARD}.completed", item_id="i1", transcript="ab", usage=USAGE),
]


@pytest.mark.parametrize("begun", [TRANSCRIBES, said("transcription_session.created", session={})])
def test_a_session_that_transcribes(begun: bytes) -> None:
    (found,) = listen(begun, *HEARING)
    assert (found.began, found.first_token, found.last_token, found.ended) == (11.0, 12.0, 13.0, 14.0)
    assert (found.reader.counts(), found.error) == ((9, 4, None), "")
    (found,) = listen(begun, COMMITTED, said(f"{HEARD}.failed", item_id="i1", error={"code": "…"}))
    assert found.error == "error_in_stream"
    early, late = HEARING[1], said("session.updated", session={"type": "realtime"})
    (found,) = listen(begun, early, *HEARING)
    assert (found.began, found.first_token) == (None, 11.0), (
        "what is written while it is spoken has no time to first token"
    )
    assert listen(begun, late, *HEARING) == []


def test_what_another_model_hears_in_a_conversation_is_no_answer() -> None:
    (found,) = listen(*HEARING[:2], created(), *HEARING[2:], delta(), done())
    assert found.reader.state.output_events == 1


def test_transcripts_as_vllm_gives_them() -> None:
    usage = {"prompt_tokens": 9, "completion_tokens": 4}
    one = [said("transcription.delta", delta="a"), said("transcription.delta", delta="b")]
    fault = said("error", error="…", code="processing_error")
    whole, broken = listen(
        said("session.created"), *one, said("transcription.done", text="ab", usage=usage), *one, fault
    )
    assert (whole.began, whole.first_token, whole.last_token, whole.error) == (None, 11.0, 12.0, "")
    assert (whole.reader.counts(), broken.error) == ((9, 4, None), "error_in_stream")


def test_of_too_many_answers_the_oldest_is_given_up() -> None:
    assert MAX_OPEN == 64
    names = [f"r{n}" for n in range(66)]
    assert [(a.key, a.error, a.ended) for a in listen(*map(created, names))] == [
        ("r0", "cut_short", None),
        ("r1", "cut_short", None),
    ]


def test_a_session_of_hours_does_not_grow() -> None:
    one, long = opened(), "x" * 500

    def turn(n: int) -> int:
        name = f"resp_{n}_{long}"
        return len(one.feed(created(name) + delta(name) * 3 + done(name) + frame(b"", 0x89), float(n)))

    for n in range(200):
        assert turn(n) == 1
    tracemalloc.start()
    for n in range(2000):
        turn(n)
    grown = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    assert grown < 20_000


KINDS = st.sampled_from(
    [
        *("response.created", "response.done", "response.text.delta", "response.x", "error", "session.updated"),
        *("input_audio_buffer.committed", f"{HEARD}.delta", f"{HEARD}.completed", "transcription.delta", "", 7),
        *("transcription.done", "transcription_session.created"),
    ]
)
VALUES = st.recursive(
    st.none()
    | st.integers()
    | st.sampled_from(["r1", "failed", "cancelled", "transcription", "invalid_request_error"]),
    lambda inner: (
        st.dictionaries(st.sampled_from(["id", "status", "usage", "type"]), inner, max_size=3)
        | st.lists(inner, max_size=2)
    ),
    max_leaves=5,
)
EVENTS = st.dictionaries(
    st.sampled_from(["response", "response_id", "item_id", "delta", "session", "error", "usage"]), VALUES, max_size=4
)


@given(st.lists(st.tuples(KINDS, EVENTS), max_size=12))
def test_no_event_is_too_odd(events: list[tuple[object, dict[str, Any]]]) -> None:
    one = opened()
    ended = [a for kind, event in events for a in one.feed(frame(json.dumps({"type": kind, **event}).encode()), 1.0)]
    ended += one.leave(2.0, "client_left")
    assert len(set(map(id, ended))) == len(ended)
    assert not one.malformed


CODES = [*(1000, 1001, 1002, 1005, 1006, 1007, 1008, 1009, 1010, 1015, 3000), *(1011, 1012, 1013, 1014)]


@pytest.mark.parametrize(("code", "cut_short"), [(code, code in (1011, 1012, 1013, 1014)) for code in CODES])
def test_a_close_frame_says_who_ended_it(code: int, *, cut_short: bool) -> None:
    one = opened()
    assert (one.closed, one.gone) == ("", None)
    assert one.feed(created() + frame(code.to_bytes(2), 0x88), 1.0) == []
    assert one.closed == ("cut_short" if cut_short else "client_left")


def test_a_connection_is_gone_once_an_empty_piece_has_come_after_another() -> None:
    one, gone = opened(), []
    for now, piece in enumerate((b"", created(), b"", created())):
        one.feed(piece, float(now))
        gone.append(one.gone)
    assert gone == [None, False, True, False]


def test_who_leaves_gives_up_every_open_answer() -> None:
    one = opened()
    one.feed(created("a") + created("b") + delta("b") + created("c") + done("c"), 1.0)
    left = one.leave(5.0, "client_left")
    assert [(a.key, a.began, a.first_token, a.ended, a.error) for a in left] == [
        ("a", 1.0, None, 5.0, "client_left"),
        ("b", 1.0, 1.0, 5.0, "client_left"),
    ]
    assert one.leave(6.0, "client_left") == []


def test_the_event_that_ends_an_answer_is_kept_unless_it_is_too_long() -> None:
    (short,) = listen(created(), delta(), done())
    assert json.loads(short.last_event)["type"] == "response.done"
    (long,) = listen(created(), done(output="x" * 2 * MAX_WHOLE))
    assert long.last_event == b""


@pytest.mark.parametrize("begun", [frame(b"one", 0x91), b"HTTP/1.1 502 Bad Gateway\r\n"])
def test_bytes_that_are_no_frames_end_the_reading(begun: bytes) -> None:
    one = opened()
    assert one.feed(begun, 1.0) == []
    assert one.malformed
    assert one.feed(created() + done(), 2.0) == []
    assert opened("x-own").malformed


@pytest.mark.parametrize("size", [0, 2 * MAX_WHOLE])
def test_ids_are_told_apart_by_128_characters(size: int) -> None:
    name = "r" * 127
    first, second = created(name + "a"), created(name + "ab")
    ends = [delta(name + "a", text="x" * size), done(name + "b"), done(name + "ac")]
    assert [(a.began, a.error) for a in listen(first, second, *ends)] == [(None, ""), (10.0, "")]


def test_which_operations_have_sessions() -> None:
    assert ("openai", "realtime") in SESSIONS
    assert ("openai", "chat.completions") not in SESSIONS
    assert ("made-up", "realtime") not in SESSIONS


def test_an_error_is_no_output() -> None:
    (found,) = listen(failed("server_error"))
    assert (found.key, found.began, found.first_token, found.last_token, found.ended) == ("", None, None, None, 10.0)
    assert (found.reader.state.output_events, found.last_event) == (0, b"")


def test_a_long_transcript_belongs_to_its_item() -> None:
    other = said("input_audio_buffer.committed", item_id="i0")
    long = said(f"{HEARD}.completed", item_id="i1", transcript="x" * 2 * MAX_WHOLE, usage=USAGE)
    (found,) = listen(TRANSCRIBES, other, COMMITTED, long)
    assert (found.key, found.began, found.ended, found.reader.counts()) == ("i1", 12.0, 13.0, (9, 4, None))


def test_an_answer_begins_once() -> None:
    (found,) = listen(created(), created(), delta(), done())
    assert (found.began, found.first_token, found.reader.state.output_events) == (10.0, 12.0, 1)


def test_what_compressed_events_are_without_their_compression() -> None:
    one, event = opened("permessage-deflate"), said("session.updated", session={})[2:]
    assert one.expanded == 0
    one.feed(frame(Packer()(event), 0xC1), 1.0)
    assert one.expanded == len(event)


@pytest.mark.parametrize(("refused", "read"), [(MAX_REFUSED - 1, 1), (MAX_REFUSED, 0)])
def test_what_is_nearly_json_is_read_until_a_hundred_events_were_none(refused: int, read: int) -> None:
    nearly = frame(b'{"type":"response.output_text.delta","response_id":"r1","delta":"a","x":NaN}')
    (found,) = listen(created(), *[frame(b"{no JSON at all}")] * refused, nearly, done())
    assert found.reader.state.output_events == read

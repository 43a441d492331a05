"""Idle, open and closed streams, and what a client may do how often (RFC 9113 §5.1)."""

from __future__ import annotations

import pytest

from extproc.http2 import frames as f
from extproc.http2.flood_limits import RateLimit
from extproc.http2.frames import Http2ConnectionError
from extproc.http2.limits import MAX_ENDED
from extproc.http2.memory_budget import MemoryBudget
from extproc.http2.stream import Stream
from extproc.http2.stream_states import StreamStates

STRICT = RateLimit("things", 10, 2, earns=False)
EARNED = RateLimit("others", 10, 2, earns=True)


def states(last: int = 9) -> StreamStates:
    made = StreamStates(MemoryBudget())
    made.last_stream_id = last
    return made


def refused(made: StreamStates, limit: RateLimit, cost: int = 1) -> bool:
    try:
        made.charge(limit, cost)
    except Http2ConnectionError as error:
        return (error.code, str(error)) == (f.ENHANCE_YOUR_CALM, f"too many {limit.name}")
    return False


def test_a_burst_and_no_more() -> None:
    made = states()
    assert [refused(made, STRICT) for _ in range(11)] == [False] * 10 + [True]


def test_a_limited_frame_is_work() -> None:
    made = states()
    before = made.work
    made.charge(STRICT, 3)
    assert made.work == before - 1


def test_limits_are_counted_each_by_itself() -> None:
    made = states()
    assert not refused(made, STRICT, 10)
    assert not refused(made, EARNED, 10)
    assert refused(made, STRICT)


def test_time_allows_for_more() -> None:
    made = states()
    assert not refused(made, STRICT, 10)
    made.now = 2.0
    assert not refused(made, STRICT, 4)
    assert refused(made, STRICT)


def test_the_clock_of_a_limit_begins_with_its_first_use() -> None:
    made = states()
    made.now = 1_000.0
    assert not refused(made, STRICT, 10)
    assert refused(made, STRICT)


def test_streams_and_bytes_sent_allow_for_more_of_some() -> None:
    made = states()
    made.streams_opened = 100  # before the first of them: not earned
    assert not refused(made, EARNED, 10)
    assert not refused(made, STRICT, 10)
    made.streams_opened += 2
    assert not refused(made, EARNED, 8)
    made.window_granted += 64
    assert not refused(made, EARNED, 4)
    made.window -= 16
    assert not refused(made, EARNED)
    made.window -= 15
    assert refused(made, EARNED)
    assert refused(made, STRICT)


@pytest.mark.parametrize("number", [1, 7, 9])
def test_streams_that_were_opened(number: int) -> None:
    states().check_opened(number)


@pytest.mark.parametrize("number", [0, 2, 8, 11, 10])
def test_streams_that_were_not(number: int) -> None:
    with pytest.raises(Http2ConnectionError) as caught:
        states().check_opened(number)
    assert caught.value.code == f.PROTOCOL_ERROR


def code_of(made: StreamStates, number: int, flags: int = 0) -> int | None:
    try:
        made.check_closed(number, flags)
    except Http2ConnectionError as error:
        return error.code
    return None


def test_a_stream_that_we_closed_is_given_grace_until_the_client_ends_it() -> None:
    made = states()
    assert [code_of(made, 5), code_of(made, 5), code_of(made, 5, f.END_STREAM)] == [None] * 3
    assert code_of(made, 5) == f.STREAM_CLOSED
    assert code_of(made, 7) is None


def test_other_flags_do_not_end_a_stream() -> None:
    made = states()
    assert code_of(made, 5, f.PADDED | f.END_HEADERS) is None
    assert code_of(made, 5) is None


def test_a_stream_that_the_client_has_ended_or_that_is_half_closed() -> None:
    made = states()
    made.remember_ended(3)
    made.streams[5] = Stream(made, 5)
    assert [code_of(made, 3), code_of(made, 5), code_of(made, 11)] == [
        f.STREAM_CLOSED,
        f.STREAM_CLOSED,
        f.PROTOCOL_ERROR,
    ]


def test_the_last_hundred_ended_streams_are_remembered() -> None:
    made = states(last=1_001)
    for number in range(1, 2 * MAX_ENDED + 1, 2):
        made.remember_ended(number)
    assert [code_of(made, 1), code_of(made, 199)] == [f.STREAM_CLOSED] * 2
    made.remember_ended(201)
    assert [code_of(made, 1), code_of(made, 3), code_of(made, 201)] == [None, f.STREAM_CLOSED, f.STREAM_CLOSED]


def test_a_new_connection() -> None:
    made = StreamStates(MemoryBudget())
    assert (made.now, made.streams_opened, made.last_stream_id, made.window_granted) == (0.0, 0, 0, 65_535)

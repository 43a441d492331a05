"""How often a client may send frames that bring no work: counted, not timed."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from extproc.http2 import flood_limits
from extproc.http2.flood_limits import MAX_LATE_RESETS, PER_STREAM, FloodLimits, RateLimit, TokenBucket
from extproc.http2.frames import Http2ConnectionError
from extproc.http2.limits import MAX_STREAMS
from tests.http2.served import Served, whole
from tests.http2.wire import (
    HELLO,
    data,
    errors,
    headers,
    message,
    raw,
    reset,
    settings,
    window,
)

DATA, HEADERS, PRIORITY, RST, SETTINGS, PUSH, PING, GOAWAY, WINDOW, CONTINUATION = range(10)
CALM = 11


def test_an_envoy_that_resets_at_the_rate_of_its_requests_is_served() -> None:
    """When they have been answered, and where it only observes and closes its side first."""
    served = Served()
    served.say(HELLO)
    for n in range(1, 12_000, 6):
        answered = headers(n) + data(n, message(b"end:")) + reset(n)
        closed = headers(n + 2) + data(n + 2, message(b"none"), ends=True) + reset(n + 2)
        left = headers(n + 4) + data(n + 4, message(b"none")) + reset(n + 4)
        assert [error for error in errors(served.say(answered + closed + left)) if error[0] == "GOAWAY"] == []
    served.check()
    assert not served.connection.streams


def test_who_is_served_may_ask_for_signs_of_life_and_open_windows_as_often() -> None:
    """As clients that measure bandwidth by pings do, and those that acknowledge each byte."""
    served = Served()
    served.say(HELLO)
    for n in range(1, 12_000, 2):
        served.say(headers(n) + data(n, message(b"end:")) + raw(PING, 0, 0, bytes(8)) + window(0, 9) + window(n, 9))
    assert not served.connection.failed


@given(st.lists(st.tuples(st.floats(0, 10), st.integers(1, 5)), max_size=60), st.integers(1, 20), st.integers(1, 9))
def test_no_more_than_the_burst_and_what_time_brings(spent: list[tuple[float, int]], burst: int, rate: int) -> None:
    bucket, now, granted = TokenBucket(RateLimit("x", burst, rate, earns=False), 0.0, 0), 0.0, 0
    for later, cost in spent:
        now += later
        if not bucket.consume(cost, now, 0):
            break
        granted += cost
    assert granted <= burst + rate * now + 1e-6


def test_settings_cost_by_the_streams_that_they_set_in_motion() -> None:
    served = Served()
    served.say(HELLO + b"".join(headers(n) for n in range(1, 2 * MAX_STREAMS, 2)))
    assert len(served.connection.streams) == MAX_STREAMS
    moves, answer = 0, b""
    while not served.connection.failed:
        answer = served.say(settings({4: moves}))
        moves += 1
    assert errors(answer)[-1] == ("GOAWAY", 0, CALM)
    assert moves <= 1_000 // (MAX_STREAMS // flood_limits.STREAMS_PER_SETTINGS) + 1
    served = Served()
    served.say(HELLO + b"".join(headers(n) for n in range(1, 2 * MAX_STREAMS, 2)))
    for _ in range(900):
        served.say(settings({4: 65_535}))  # nothing moves
    assert not served.connection.failed


def test_other_streams_do_not_count_as_calls() -> None:
    connection, opened = whole()
    connection.receive(HELLO + b"".join(headers(n) + reset(n) for n in range(1, 1_999, 2)))
    assert len(opened) == 999
    assert not connection.failed


def test_limits_are_as_documented() -> None:
    """docs/operations.md, "Hostile clients"."""
    rates = {value for value in vars(flood_limits).values() if isinstance(value, RateLimit)}
    assert {(limit.name, limit.burst, limit.per_second, limit.earns) for limit in rates} == {
        ("streams reset that asked for nothing or whose answer waits", 1_000, 33, False),
        ("streams that we must reset", 1_000, 33, False),
        ("SETTINGS", 1_000, 33, False),
        *((name, 1_000, 33, True) for name in ("PINGs", "PRIORITYs", "CONTINUATIONs")),
        *((name, 1_000, 33, True) for name in ("empty DATA frames", "frames of unknown types")),
        ("WINDOW_UPDATEs", 10_000, 330, True),
        ("streams beyond the limit", 10_000, 330, False),
        ("GOAWAYs", 100, 1, False),
    }
    assert MAX_STREAMS == 4_096
    assert (PER_STREAM, flood_limits.PER_BYTES, flood_limits.STREAMS_PER_SETTINGS, MAX_LATE_RESETS) == (4, 16, 64, 100)


LIMIT = RateLimit("x", 10, 3, earns=True)


def taken(bucket: TokenBucket, now: float, earned: int = 0) -> int:
    """How many tokens there are."""
    count = 0
    while bucket.consume(1, now, earned):
        count += 1
    return count


def test_a_bucket_is_full_at_first_and_filled_by_time() -> None:
    bucket = TokenBucket(LIMIT, 5.0, 0)
    assert taken(bucket, 5.0) == 10
    assert taken(bucket, 7.0) == 5  # one was spent in vain
    assert taken(bucket, 7.0) == 0


def test_a_bucket_never_has_more_than_the_burst() -> None:
    bucket = TokenBucket(LIMIT, 0.0, 0)
    assert taken(bucket, 1_000.0) == 10
    assert taken(bucket, 2_000.0, 1_000) == 10


def test_a_bucket_is_filled_by_what_was_earned_since() -> None:
    bucket = TokenBucket(LIMIT, 0.0, 100)
    assert taken(bucket, 0.0, 100) == 10
    assert taken(bucket, 0.0, 105) == 4
    assert taken(TokenBucket(LIMIT._replace(earns=False), 0.0, 0), 0.0, 50) == 10


def test_a_cost_of_several() -> None:
    bucket = TokenBucket(LIMIT, 0.0, 0)
    assert [bucket.consume(cost, 0.0, 0) for cost in (4, 6, 1)] == [True, True, False]
    assert not TokenBucket(LIMIT, 0.0, 0).consume(11, 0.0, 0)


def test_each_limit_has_its_own_bucket_and_the_error_names_it() -> None:
    floods = FloodLimits()
    for limit in (LIMIT, LIMIT._replace(name="y", earns=False)):
        for _ in range(10):
            floods.charge(limit, 1, 5.0, 0, 0)
        with pytest.raises(Http2ConnectionError, match=f"too many {limit.name}") as error:
            floods.charge(limit, 1, 5.0, 0, 0)
        assert error.value.code == CALM
    floods = FloodLimits()
    floods.charge(LIMIT, 10, 0.0, 7, 100)
    floods.charge(LIMIT, 9, 1.0, 8, 132)  # 3 by time, 4 by a stream, 2 by bytes
    with pytest.raises(Http2ConnectionError):
        floods.charge(LIMIT, 1, 1.0, 8, 132)

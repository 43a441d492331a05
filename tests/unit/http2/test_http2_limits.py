"""What a client may do how often, what its messages may hold, and how much of a turn it gets: counted, not timed."""

from __future__ import annotations

from collections import OrderedDict

import pytest
from hypothesis import given
from hypothesis import strategies as st

from extproc.http2 import limits
from extproc.http2.connection import Connection
from extproc.http2.limits import MAX_LATE_RESETS, MAX_STREAMS, PER_STREAM, MemoryBudget, RateLimit, TokenBucket
from tests.http2.served import Noted, Served, Whole, check, fetched, whole
from tests.http2.wire import (
    HELLO,
    REQUEST,
    Answers,
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


class Counted(Whole):
    """Answers at once, and counts how often it is looked at."""

    looks = 0

    def flush(self) -> None:
        Counted.looks += 1
        super().flush()


def test_a_window_is_opened_without_a_look_at_all_that_wait() -> None:
    connection = Connection(lambda connection, number, head: Counted(connection, number, head, b"a"))
    connection.receive(HELLO)
    connection.window, Counted.looks = 0, 0  # only a client that took as much gets here otherwise
    connection.receive(b"".join(headers(n) for n in range(1, 4_001, 2)))
    assert len(connection.waiting) == 2_000
    assert type(connection.waiting) is OrderedDict, "a dict skips, again and again, all that were taken out"
    for _ in range(1_000):
        connection.receive(window(0, 1))
        fetched(connection)
    assert Counted.looks == 1_000
    connection.receive(window(0, 1 << 20))
    fetched(connection)
    assert Counted.looks == 2_000
    assert not connection.waiting
    check(connection)


def test_settings_cost_by_the_streams_that_they_set_in_motion() -> None:
    served = Served()
    served.say(HELLO + b"".join(headers(n) for n in range(1, 2 * MAX_STREAMS, 2)))
    assert len(served.connection.streams) == MAX_STREAMS
    moves, answer = 0, b""
    while not served.connection.failed:
        answer = served.say(settings({4: moves}))
        moves += 1
    assert errors(answer)[-1] == ("GOAWAY", 0, CALM)
    assert moves <= 1_000 // (MAX_STREAMS // limits.STREAMS_PER_SETTINGS) + 1
    served = Served()
    served.say(HELLO + b"".join(headers(n) for n in range(1, 2 * MAX_STREAMS, 2)))
    for _ in range(900):
        served.say(settings({4: 65_535}))  # nothing moves
    assert not served.connection.failed


@pytest.mark.parametrize("way", ["messages without their end", "answers that wait"])
def test_what_one_connection_holds_is_bounded_and_the_newest_is_refused(way: str) -> None:
    budget = MemoryBudget(per_connection=1_000_000, per_process=10_000_000)
    served, statuses = Served(budget), dict[int, str]()
    served.say(HELLO + settings({4: 0}))
    piece = {"messages without their end": message(bytes(400_000))[:300_000], "answers that wait": message(b"much")}[
        way
    ]
    for n in range(1, 21, 2):
        said = b"".join(data(n, piece[at : at + 16_384]) for at in range(0, len(piece), 16_384))
        answers = Answers().read(served.say(headers(n) + said))
        statuses |= {number: answers.status(number)[0] for number in answers.ended}
        assert budget.buffered <= 1_000_000
        served.check()
    assert statuses == dict.fromkeys(range(7, 21, 2), "8")  # three have room
    served.say(reset(1) + reset(3) + reset(5))
    assert budget.buffered == 0
    answers = Answers().read(served.say(settings({4: 1 << 20}) + headers(21) + data(21, message(b"end:"))))
    assert answers.status(21) == ("0", "")


def test_what_a_process_holds_is_bounded_and_small_messages_still_find_room() -> None:
    budget = MemoryBudget(per_connection=1_000_000, per_process=2_000_000)
    greedy = [Served(budget) for _ in range(5)]
    for served in greedy:
        half = b"".join(data(1, (bytes((0, 0, 0x20, 0, 0)) if n == 0 else b"") + bytes(16_000)) for n in range(60))
        served.say(HELLO + headers(1) + half)
    assert budget.buffered <= 2_000_000
    assert [len(served.connection.streams) for served in greedy] == [1, 1, 0, 0, 0]
    small = Served(budget)
    first, rest = message(bytes(20_000))[:16_000], message(bytes(20_000))[16_000:]
    assert errors(small.say(HELLO + headers(1) + data(1, first) + data(1, rest))) == []
    assert small.handlers[0].heard == [bytes(20_000)]
    for served in (*greedy, small):
        served.connection.terminate()
    assert budget.buffered == budget.cached_headers == 0


def test_remembered_blocks_are_bounded_by_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("extproc.http2.request_headers.CACHED_HEADER_BYTES", 600_000)
    budget = MemoryBudget()
    connections = [Served(budget) for _ in range(20)]
    for served in connections:
        served.say(HELLO)
        for n in range(1, 100, 2):
            fields = [*REQUEST, ("x", str(n)), *((f"y{m}", "v" * 100) for m in range(10))]
            served.say(headers(n, fields) + data(n, message(b"end:")))
            assert served.connection._header_reader._cached_bytes <= 1 << 17
    assert 500_000 < budget.cached_headers <= 600_000
    served = connections[-1]  # it may remember nothing, and is served
    answers = Answers().read(served.say(headers(101) + data(101, message(b"end:"))))
    assert answers.status(101) == ("0", "")
    for served in connections:
        served.connection.terminate()
    assert budget.cached_headers == 0


def test_a_share_is_no_more_than_that_and_nothing_is_lost() -> None:
    def said(n: int) -> bytes:
        return headers(n) + data(n, message(b"a") * 20 + message(b"end:")) + raw(PING, 0, 0, n.to_bytes(8))

    conversation = HELLO + b"".join(map(said, range(1, 101, 2))) + headers(101) + data(101, message(b"b"), ends=True)
    whole, bit, turns, most = Served(), Served(), 1, 0
    expected = whole.say(conversation)
    bit.connection.receive(conversation, 0.0, 32)
    answer = fetched(bit.connection)
    while bit.connection.unfinished:
        before = sum(len(handler.heard) for handler in bit.handlers)
        bit.connection.receive(b"", 0.0, 32)
        answer += fetched(bit.connection)
        bit.check()
        most = max(most, sum(len(handler.heard) for handler in bit.handlers) - before)
        turns += 1
    assert turns > 100
    assert most <= 5
    assert [handler.heard for handler in bit.handlers] == [handler.heard for handler in whole.handlers]
    assert Answers().read(answer).data == Answers().read(expected).data
    assert Answers().read(answer).status(101) == ("0", "")


def test_messages_that_wait_for_a_window_are_taken_bit_by_bit() -> None:
    """One WINDOW_UPDATE must not set a mebibyte of small messages in motion."""
    served = Served()
    served.say(HELLO + settings({4: 0}) + headers(1) + data(1, message(b"a")) + data(1, message(b"b") * 2_000))
    assert served.handlers[0].heard == [b"a"]
    served.connection.receive(window(1, 1 << 20), 0.0, 64)
    assert 0 < len(served.handlers[0].heard) < 20
    served.connection.receive(b"", 0.0, 1 << 20)
    assert len(served.handlers[0].heard) == 2_001
    assert not served.connection.unfinished
    served.check()


def test_a_stream_that_is_gone_is_not_taken_up_again() -> None:
    served = Served()
    served.connection.receive(HELLO + headers(1) + data(1, message(b"a") * 500), 0.0, 32)
    while not served.connection._deferred:
        served.connection.receive(b"", 0.0, 32)
    heard = len(served.handlers[0].heard)
    assert heard < 500
    served.connection.terminate()
    served.connection.receive(b"", 0.0, 1 << 20)
    assert len(served.handlers[0].heard) == heard
    assert served.handlers[0].closed == 1
    served.check()


def test_other_streams_do_not_count_as_calls() -> None:
    connection, opened = whole()
    connection.receive(HELLO + b"".join(headers(n) + reset(n) for n in range(1, 1_999, 2)))
    assert len(opened) == 999
    assert not connection.failed


def test_handlers_see_no_message_after_a_refusal() -> None:
    budget = MemoryBudget(per_connection=10, per_process=100)
    served = Served(budget)
    served.say(HELLO + headers(1) + data(1, message(bytes(100))[:50]) + data(1, bytes(60)))
    (handler,) = served.handlers
    assert isinstance(handler, Noted)
    assert handler.heard == []
    assert handler.closed == 1


def test_limits_are_as_documented() -> None:
    """docs/operations.md, "Hostile clients"."""
    rates = {value for value in vars(limits).values() if isinstance(value, RateLimit)}
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
    assert (PER_STREAM, limits.PER_BYTES, limits.STREAMS_PER_SETTINGS, MAX_LATE_RESETS) == (4, 16, 64, 100)


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


@pytest.mark.parametrize(
    ("own", "all_together", "exceeded"),
    [
        (1_000, 1_000, False),
        (1_001, 1_001, True),
        (300_000, 2_000, True),
        (0, 1 << 40, False),
    ],
)
def test_a_connections_bound(own: int, all_together: int, exceeded: bool) -> None:
    budget = MemoryBudget(per_connection=1_000, per_process=2_000)
    budget.buffered = all_together
    assert budget.exceeded(own) == exceeded


@pytest.mark.parametrize(
    ("own", "all_together", "exceeded"),
    [(1 << 18, 2_001, False), ((1 << 18) + 1, 2_000, False), ((1 << 18) + 1, 2_001, True)],
)
def test_a_process_bound_spares_small_connections(own: int, all_together: int, exceeded: bool) -> None:
    budget = MemoryBudget(per_connection=1 << 30, per_process=2_000)
    budget.buffered = all_together
    assert budget.exceeded(own) == exceeded


def test_bounds_in_bytes() -> None:
    budget = MemoryBudget()
    assert (budget.per_connection, budget.per_process) == ((64 << 20) + 5, 256 << 20)
    assert (budget.buffered, budget.cached_headers) == (0, 0)
    assert limits.CACHED_HEADER_BYTES == 16 << 20

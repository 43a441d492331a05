"""How much of the connection's work is done in a turn: counted, not timed."""

from __future__ import annotations

from collections import OrderedDict

from extproc.http2.connection import Connection
from tests.http2.served import Served, Whole, check, fetched
from tests.http2.wire import (
    HELLO,
    Answers,
    data,
    headers,
    message,
    raw,
    settings,
    window,
)

DATA, HEADERS, PRIORITY, RST, SETTINGS, PUSH, PING, GOAWAY, WINDOW, CONTINUATION = range(10)
CALM = 11


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

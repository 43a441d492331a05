"""What no honest client sends: each thing has its code (RFC 9113), and nothing raises or grows."""

from __future__ import annotations

import time
from collections.abc import Callable
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from extproc.http2 import settings as http2_settings
from extproc.http2.settings import STREAM_WINDOW
from tests.http2.served import Served, check, fetched, sizes, whole
from tests.http2.wire import HELLO, PREFACE, REQUEST, Answers, block, data, errors, headers, message, raw, reset, window
from tests.http2.wire import settings as setting

DATA, HEADERS, PRIORITY, RST, SETTINGS, PUSH, PING, GOAWAY, WINDOW, CONTINUATION = range(10)
PROTOCOL, FLOW, CLOSED, SIZE, REFUSED, COMPRESSION, CALM = 1, 3, 5, 6, 7, 9, 11
OPEN = headers(1)
ENDED = headers(1, ends=True)
LENGTH = [*REQUEST, ("content-length", "3")]

CONNECTION = {
    "3.4 no preface": (b"GET / HTTP/1.1\r\n\r\n", PROTOCOL),
    "3.4 the preface alone, then no SETTINGS": (PREFACE + raw(PING, 0, 0, bytes(8)), PROTOCOL),
    "4.2 a frame too large": (HELLO + OPEN + raw(DATA, 0, 1, bytes(16_385)), SIZE),
    "4.2 its head alone": (HELLO + raw(DATA, 0, 1, length=1 << 23), SIZE),
    "4.3 not HPACK": (HELLO + raw(HEADERS, 4, 1, b"\xff\xff\xff\xff\xff\xff"), COMPRESSION),
    "4.3 a frame amidst a block": (HELLO + raw(HEADERS, 0, 1, block()) + raw(PING, 0, 0, bytes(8)), PROTOCOL),
    "4.3 an unknown frame amidst a block": (HELLO + raw(HEADERS, 0, 1, block()) + raw(99, 0, 1), PROTOCOL),
    "4.3 another stream's block amidst one": (HELLO + raw(HEADERS, 0, 1, block()) + raw(9, 4, 3), PROTOCOL),
    "5.1 data on an idle stream": (HELLO + data(1, b"a"), PROTOCOL),
    "5.1 a reset of an idle stream": (HELLO + reset(1), PROTOCOL),
    "5.1 a window of an idle stream": (HELLO + window(1, 1), PROTOCOL),
    "5.1 data after the end": (HELLO + ENDED + data(1, b"a"), CLOSED),
    "5.1 headers after the end": (HELLO + ENDED + headers(1, ends=True), CLOSED),
    "5.1 data after a reset": (HELLO + OPEN + reset(1) + data(1, b"a"), CLOSED),
    "5.1.1 an even stream": (HELLO + headers(2), PROTOCOL),
    "5.1.1 a lower stream": (HELLO + headers(5) + headers(3), PROTOCOL),
    "5.1.1 a reset of the server's": (HELLO + headers(5) + reset(4), PROTOCOL),
    "6.1 data on no stream": (HELLO + data(1, b"a").replace(b"\0\0\0\1", b"\0\0\0\0"), PROTOCOL),
    "6.1 padding as long as the payload": (HELLO + OPEN + raw(DATA, 8, 1, b"\x03abc"[:3]), PROTOCOL),
    "6.1 padding without its length": (HELLO + OPEN + raw(DATA, 8, 1), PROTOCOL),
    "6.2 headers on no stream": (HELLO + raw(HEADERS, 4, 0, block()), PROTOCOL),
    "6.2 a priority cut off": (HELLO + raw(HEADERS, 0x24, 1, b"\0\0"), SIZE),
    "6.3 a priority of no stream": (HELLO + raw(PRIORITY, 0, 0, bytes(5)), PROTOCOL),
    "6.4 a reset of another size": (HELLO + OPEN + raw(RST, 0, 1, bytes(3)), SIZE),
    "6.4 a reset of no stream": (HELLO + raw(RST, 0, 0, bytes(4)), PROTOCOL),
    "6.5 settings of a stream": (HELLO + raw(SETTINGS, 0, 1), PROTOCOL),
    "6.5 settings of another size": (HELLO + raw(SETTINGS, 0, 0, bytes(5)), SIZE),
    "6.5 an acknowledgement with a payload": (HELLO + raw(SETTINGS, 1, 0, bytes(6)), SIZE),
    "6.5.2 push neither 0 nor 1": (HELLO + raw(SETTINGS, 0, 0, b"\0\2\0\0\0\2"), PROTOCOL),
    "6.5.2 a window too large": (HELLO + raw(SETTINGS, 0, 0, b"\0\4\x80\0\0\0"), FLOW),
    "6.5.2 a frame too small": (HELLO + raw(SETTINGS, 0, 0, b"\0\5\0\0\x3f\xff"), PROTOCOL),
    "6.5.2 a frame too large": (HELLO + raw(SETTINGS, 0, 0, b"\0\5\1\0\0\0"), PROTOCOL),
    "6.6 a push": (HELLO + OPEN + raw(PUSH, 4, 1, bytes(4)), PROTOCOL),
    "6.7 a ping of a stream": (HELLO + OPEN + raw(PING, 0, 1, bytes(8)), PROTOCOL),
    "6.7 a ping of another size": (HELLO + raw(PING, 0, 0, bytes(7)), SIZE),
    "6.8 a GOAWAY of a stream": (HELLO + OPEN + raw(GOAWAY, 0, 1, bytes(8)), PROTOCOL),
    "6.8 a GOAWAY cut off": (HELLO + raw(GOAWAY, 0, 0, bytes(7)), SIZE),
    "6.9 no more window": (HELLO + raw(WINDOW, 0, 0, bytes(4)), PROTOCOL),
    "6.9 a window of another size": (HELLO + raw(WINDOW, 0, 0, bytes(3)), SIZE),
    "6.9.1 the connection's window too large": (HELLO + window(0, (1 << 31) - 1), FLOW),
    "6.9.2 a stream's, by settings": (
        HELLO + OPEN + window(1, (1 << 31) - 1 - 65_535) + setting({4: 65_536}),
        FLOW,
    ),
    "6.10 a continuation of nothing": (HELLO + raw(CONTINUATION, 4, 1, block()), PROTOCOL),
    "6.10 a continuation after the end of a block": (HELLO + OPEN + raw(CONTINUATION, 4, 1), PROTOCOL),
    "10.5.1 headers without end": (HELLO + raw(HEADERS, 0, 1) + raw(CONTINUATION, 0, 1, bytes(16_384)) * 5, CALM),
}

STREAM = {
    "5.3.1 of itself": (raw(HEADERS, 0x24, 1, b"\0\0\0\1\0" + block()), None),
    "6.9 no more window": (OPEN + raw(WINDOW, 0, 1, bytes(4)), PROTOCOL),
    "6.9.1 a window too large": (OPEN + window(1, (1 << 31) - 1), FLOW),
    "6.9.1 more than our window": (OPEN + data(1, bytes(16_384)) * 100, None),
    "8.1 a second head": (OPEN + headers(1), PROTOCOL),
    "8.1 trailers with pseudo-headers": (OPEN + headers(1, ends=True), PROTOCOL),
    "8.1 trailers with a connection's header": (OPEN + headers(1, [("upgrade", "h2c")], ends=True), PROTOCOL),
    "8.1.1 shorter than it says": (headers(1, LENGTH) + data(1, b"ab", ends=True), PROTOCOL),
    "8.1.1 longer than it says": (headers(1, LENGTH) + data(1, b"abcd"), PROTOCOL),
    "8.1.1 nothing though it says": (headers(1, LENGTH, ends=True), PROTOCOL),
    "8.2.1 upper case": (headers(1, [*REQUEST, ("Upper", "1")]), PROTOCOL),
    "8.2.2 a connection's header": (headers(1, [*REQUEST, ("connection", "close")]), PROTOCOL),
    "8.3.1 no path": (headers(1, [*REQUEST[:2], *REQUEST[3:]]), PROTOCOL),
}


@pytest.mark.parametrize("name", CONNECTION)
def test_errors_of_the_connection(name: str) -> None:
    said, code = CONNECTION[name]
    for size in (len(said), 1):
        connection, opened = whole()
        for at in range(0, len(said), size):
            connection.receive(said[at : at + size])
        assert errors(fetched(connection))[-1:] == [("GOAWAY", 0, code)]
        assert connection.failed
        check(connection)
        assert all(stream.losses == 1 for stream in opened if stream.number != 1 or stream.open)
        connection.receive(HELLO)
        assert fetched(connection) == b""


@pytest.mark.parametrize("name", [name for name, (_, code) in STREAM.items() if code])
def test_errors_of_a_stream_leave_the_others_alone(name: str) -> None:
    said, code = STREAM[name]
    connection, opened = whole()
    connection.receive(HELLO + said)
    assert errors(fetched(connection)) == [("RST_STREAM", 1, code)]
    assert [stream.losses for stream in opened] in ([], [1])
    check(connection)
    late = b"" if "nothing" in name else data(1, b"under way")
    connection.receive(late + headers(3) + data(3, b"fine", ends=True))
    answers = Answers().read(fetched(connection))
    assert answers.data == {3: b"fine"}
    check(connection)


def test_a_stream_that_depends_on_itself_ends_the_connection() -> None:
    connection, _ = whole()
    connection.receive(HELLO + STREAM["5.3.1 of itself"][0])
    assert errors(fetched(connection)) == [("GOAWAY", 0, PROTOCOL)]


def test_more_than_our_window() -> None:
    connection, opened = whole(b"x" * 100_000)  # which waits, so that nothing is paid back
    connection.receive(HELLO + OPEN)
    connection.receive(data(1, bytes(16_384)) * (STREAM_WINDOW // 16_384))
    assert len(opened[0].body) == STREAM_WINDOW
    connection.receive(data(1, b"a"))
    assert errors(fetched(connection)) == [("RST_STREAM", 1, FLOW)]
    assert opened[0].losses == 1
    check(connection)


def test_unknown_frames_flags_and_settings_are_ignored() -> None:
    connection, _ = whole()
    connection.receive(HELLO + raw(0xEE, 0xFF, 7, b"?" * 99) + raw(SETTINGS, 0xFE & ~1, 0, b"\xab\xcd\0\0\0\1"))
    connection.receive(headers(1) + data(1, b"a", ends=True))
    assert Answers().read(fetched(connection)).data == {1: b"a"}


def test_one_stream_too_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("extproc.http2.connection.MAX_STREAMS", 50)
    assert http2_settings.MAX_STREAMS == 4_096
    connection, opened = whole()
    connection.receive(HELLO + b"".join(headers(n) for n in range(1, 103, 2)))
    assert errors(fetched(connection)) == [("RST_STREAM", 101, REFUSED)]
    connection.receive(data(101, b"unheard", ends=True) + data(1, b"a", ends=True) + headers(103))
    assert errors(fetched(connection)) == []
    assert len(opened) == 51
    check(connection)


FLOODS: dict[str, Callable[[int], bytes]] = {
    "pings": lambda n: raw(PING, 0, 0, n.to_bytes(8)),
    "settings": lambda n: setting({4: n}),
    "rapid resets": lambda n: headers(2 * n + 1) + reset(2 * n + 1),
    "rapid resets of calls that wait": lambda n: (
        headers(2 * n + 1) + data(2 * n + 1, message(b"much")) + reset(2 * n + 1)
    ),
    "malformed requests": lambda n: headers(2 * n + 1, [("a", "b")]),
    "requests that are refused": lambda n: headers(2 * n + 1, [(":method", "GET"), *REQUEST[1:]]),
    "empty data": lambda n: (headers(1) if n == 0 else b"") + data(1, b""),
    "empty messages": lambda n: (headers(1) if n == 0 else b"") + data(1, message(b"none")),
    "empty continuations": lambda n: raw(HEADERS, 0, 1, block()) if n == 0 else raw(CONTINUATION, 0, 1),
    "windows by one": lambda _: window(0, 1),
    "priorities": lambda n: raw(PRIORITY, 0, 2 * n + 3, bytes(5)),
    "unknown frames": lambda n: raw(200, 0, n, b"?"),
    "headers that change the table": lambda n: raw(
        HEADERS, 5, 2 * n + 1, block() + b"\x40\x04" + b"%04x" % n + b"\x7f\x21" + b"v" * 160
    ),
}


@pytest.mark.parametrize("name", FLOODS)
def test_floods_leave_nothing_behind(name: str) -> None:
    served, flood = Served(), FLOODS[name]
    served.say(HELLO)
    started = time.process_time()
    for n in range(3000):
        answer = served.say(flood(n))
        assert len(answer) <= 400_000
        if n % 300 == 0:
            served.check()
            assert sizes(served.connection) < 200_000
    assert time.process_time() - started < 5  # some 0.1 s
    served.check()
    assert len(served.connection.streams) <= 1
    assert sum(1 for handler in served.handlers if not handler.closed) <= 1


def test_windows_by_one_cost_no_look_at_every_stream_that_waits() -> None:
    served = Served()
    served.say(HELLO + setting({4: 0}))
    for n in range(2000):
        served.say(headers(2 * n + 1) + data(2 * n + 1, message(b"a")))
    served.check()
    started = time.process_time()
    served.connection.receive(window(0, 1) * 20_000)
    assert time.process_time() - started < 1  # a look at all of them each time: 4 s and more
    served.check()


def test_a_client_that_never_reads_fills_no_memory() -> None:
    """Whoever runs the connection stops receiving at ``MAX_QUEUED``: until then, and by one more read, this much."""
    served = Served()
    served.connection.receive(HELLO + setting({4: (1 << 31) - 1}) + window(0, (1 << 31) - 1 - 65_535))
    most = 0
    for n in range(100):
        served.connection.receive(headers(2 * n + 1) + data(2 * n + 1, message(b"much")))
        most = max(most, served.connection.queued)
        served.check()
    assert most <= (1 << 20) + 400_000
    assert len(Answers().read(fetched(served.connection)).data[199]) == 300_015


VALID = [
    HELLO,
    headers(1),
    data(1, message(b"a") + message(b"much")),
    raw(HEADERS, 0, 3, block()[:10]) + raw(CONTINUATION, 4, 3, block()[10:]),
    data(3, message(b"two:")[:4]),
    window(0, 1000) + window(3, 70_000),
    setting({4: 10}),
    data(3, message(b"two:")[4:], ends=True),
    raw(PING, 0, 0, bytes(8)),
    headers(5) + data(5, message(b"end:")),
    reset(1),
    headers(7, [*REQUEST, ("x-bin", "AAE")], ends=True),
    raw(DATA, 9, 5, b"\x02abc"),
    setting({4: 100_000, 1: 0}),
    headers(9) + headers(9, [("trailer", "1")], ends=True),
]


@given(st.integers(0, 1 << 40))
@settings(max_examples=300, deadline=None)
def test_changed_conversations_never_raise_and_keep_the_books(seed: int) -> None:
    random = Random(seed)
    pieces = list(VALID[1:])
    for _ in range(random.randrange(6)):
        at = random.randrange(len(pieces))
        match random.randrange(5):
            case 0:
                pieces.insert(at, random.choice(pieces))
            case 1:
                del pieces[at]
            case 2:
                pieces[at], pieces[0] = pieces[0], pieces[at]
            case 3:
                changed = bytearray(pieces[at]) or bytearray(1)
                changed[random.randrange(len(changed))] = random.choice([0, 1, 4, 8, 0xFF, random.randrange(256)])
                pieces[at] = bytes(changed)
            case _:
                pieces[at] = pieces[at][: random.randrange(len(pieces[at]) + 1)]
        pieces = pieces or [b""]
    served = Served()
    served.say(HELLO)
    for piece in pieces:
        served.say(piece)
        served.check()
    served.connection.terminate()
    served.check()
    assert all(handler.closed == 1 for handler in served.handlers)


@given(st.lists(st.binary(max_size=60) | st.sampled_from(VALID), max_size=12), st.booleans())
@settings(max_examples=300, deadline=None)
def test_arbitrary_bytes_never_raise(pieces: list[bytes], hello: bool) -> None:
    served = Served()
    if hello:
        served.say(HELLO)
    for piece in pieces:
        served.say(piece)
        served.check()

"""Whole conversations that no honest client has: floods, changed and arbitrary bytes. Nothing raises or grows."""

from __future__ import annotations

import time
from collections.abc import Callable
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.http2.served import Served, fetched, sizes
from tests.http2.wire import HELLO, REQUEST, Answers, block, data, headers, message, raw, reset, window
from tests.http2.wire import settings as setting

DATA, HEADERS, PRIORITY, RST, SETTINGS, PUSH, PING, GOAWAY, WINDOW, CONTINUATION = range(10)

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

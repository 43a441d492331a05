"""What no honest client sends: each thing has its code (RFC 9113), and nothing raises or grows."""

from __future__ import annotations

import pytest

from extproc.http2 import limits
from extproc.http2.connection import Connection
from extproc.http2.settings import STREAM_WINDOW
from tests.http2.frame_floods import FLOODS, ROOM
from tests.http2.served import OK, TAIL, Served, Whole, check, fetched, whole
from tests.http2.wire import (
    HELLO,
    PREFACE,
    REQUEST,
    Answers,
    block,
    data,
    errors,
    frames,
    headers,
    message,
    raw,
    reset,
    window,
)
from tests.http2.wire import settings as setting
from tests.unit.http2.test_hpack import string

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
    "8.1.1 a byte more later": (headers(1, LENGTH) + data(1, b"abc") + data(1, b"d"), PROTOCOL),
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
    assert limits.MAX_STREAMS == 4_096
    connection, opened = whole()
    connection.receive(HELLO + b"".join(headers(n) for n in range(1, 103, 2)))
    assert errors(fetched(connection)) == [("RST_STREAM", 101, REFUSED)]
    connection.receive(data(101, b"unheard", ends=True) + data(1, b"a", ends=True) + headers(103))
    assert errors(fetched(connection)) == []
    assert len(opened) == 51
    check(connection)
    connection.receive(b"".join(headers(n) for n in range(105, 2_305, 2)))
    assert not connection.failed  # more of these are excused than of other faults


def test_frames_cost_work_by_their_kind_and_size() -> None:
    costs = {
        setting({}): 4,
        raw(PING, 1, 0, bytes(8)): 2,
        raw(PRIORITY, 0, 3, bytes(5)): 2,
        window(0, 1): 2,
        raw(200, 0, 0, bytes(1_024)): 3,
        headers(1): 8 + 3 * 4 + len(REQUEST) // 4 + len(block()) // 16,
        headers(3): 8,
        data(3, bytes(1_023)): 8,
        data(3, bytes(2_048)): 10,
    }
    connection, _ = whole()
    connection.receive(HELLO, 0.0, 100)
    for frame, cost in costs.items():
        connection.receive(frame, 0.0, 100)
        assert 100 - connection.work == cost


def test_a_turn_ends_with_its_share() -> None:
    connection, opened = whole()
    connection.receive(HELLO + headers(1))
    connection.receive(headers(3) + headers(5) + headers(7), 0.0, 9)
    turns = [(len(opened), connection.unfinished)]
    connection.receive(headers(9), 0.0, 100)
    turns.append((len(opened), connection.unfinished))
    assert turns == [(3, True), (5, False)]
    assert connection._buffer == b""


def test_what_a_frame_costs_beyond_a_share_is_taken_from_the_next() -> None:
    connection, opened = whole()
    connection.receive(HELLO + headers(1))
    connection.receive(headers(3, [*REQUEST, *((f"x{n}", "1") for n in range(20))]), 0.0, 20)
    debt = -connection.work
    assert debt > 40
    waits = [connection.unfinished]
    connection.receive(headers(5)[:-1], 0.0, 5)
    waits.append(connection.unfinished)
    assert waits == [False, False], "no frame is whole"
    turns = 1
    connection.receive(headers(5)[-1:], 0.0, 5)
    while connection.unfinished:
        assert len(opened) == 2
        connection.receive(b"", 0.0, 5)
        turns += 1
    assert turns == debt // 5
    assert len(opened) == 3


def test_what_is_left_of_a_frame_waits_for_the_rest() -> None:
    connection, opened = whole()
    said = HELLO + headers(1) + data(1, b"abc", ends=True)
    connection.receive(said[:-1])
    assert opened[0].body == b""
    connection.receive(b"")
    assert len(connection._buffer) == 11
    connection.receive(said[-1:])
    assert Answers().read(fetched(connection)).data == {1: b"abc"}


def test_a_hundred_late_resets_and_no_more() -> None:
    connection, _ = whole()
    connection.receive(HELLO + headers(1, ends=True) + reset(1) * 101)
    assert not connection.failed
    connection.receive(reset(1))
    assert errors(fetched(connection)) == [("GOAWAY", 0, CALM)]


@pytest.mark.parametrize(("more", "code"), [(0, None), (1, CALM)])
def test_encoded_headers_have_a_bound(more: int, code: int | None) -> None:
    connection, _ = whole()
    head = block() + b"\x00\x01a" + string(b"\x02" * 18_000, code=True)  # 28 bits for each of eight
    head += b"\x00\x01b" + string(b"v" * ((1 << 16) - len(head) - 6 + more))
    pieces = [head[at : at + 16_384] for at in range(0, (1 << 16) + more, 16_384)]
    said = raw(HEADERS, 0, 1, pieces[0]) + b"".join(raw(CONTINUATION, 0, 1, piece) for piece in pieces[1:-1])
    connection.receive(HELLO + said + raw(CONTINUATION, 4, 1, pieces[-1]))
    assert errors(fetched(connection)) == ([] if code is None else [("GOAWAY", 0, code)])


def test_trailers_end_a_request_of_the_length_that_it_said() -> None:
    connection, _ = whole()
    connection.receive(HELLO + headers(1, LENGTH) + data(1, b"ab") + data(1, b"c"))
    connection.receive(headers(1, [("a", "b")], ends=True))
    assert Answers().read(fetched(connection)).data == {1: b"abc"}
    connection.receive(headers(5, LENGTH) + data(5, b"abc") + data(5, b"", ends=True))
    assert Answers().read(fetched(connection)).data == {5: b"abc"}
    connection.receive(headers(7, LENGTH) + data(7, b"ab") + headers(7, [("a", "b")], ends=True))
    assert errors(fetched(connection)) == [("RST_STREAM", 7, PROTOCOL)]
    check(connection)


def test_trailers_without_an_end_are_refused() -> None:
    connection, _ = whole()
    connection.receive(HELLO + OPEN + headers(1, [("a", "b")]))
    assert errors(fetched(connection)) == [("RST_STREAM", 1, PROTOCOL)]


def test_late_trailers_are_ignored_and_late_requests_are_not() -> None:
    for late, found in (([("a", "b")], []), (REQUEST, [("GOAWAY", 0, PROTOCOL)])):
        served = Served()
        served.say(HELLO + OPEN + data(1, message(b"end:")))
        assert errors(served.say(headers(1, late))) == found


def test_padding_counts_against_the_window_and_not_the_length() -> None:
    connection, opened = whole()
    connection.receive(HELLO + headers(1, LENGTH) + raw(DATA, 8, 1, b"\x05ab" + bytes(5)))
    assert opened[0].uncredited == connection.uncredited == 8
    assert opened[0].remaining == 1
    assert opened[0].body == b"ab"


def test_data_on_a_stream_that_we_closed_is_credited() -> None:
    served = Served()
    served.say(HELLO + OPEN + data(1, message(b"end:")))
    before = served.connection.uncredited
    served.say(data(1, b"x" * 100))
    assert served.connection.uncredited == before + 100


def test_a_priority_in_headers_is_no_header() -> None:
    connection, opened = whole()
    connection.receive(HELLO + raw(HEADERS, 0x24, 1, b"\0\0\0\3\x10" + block()))
    assert opened[0].head.path == b"/test.Service/Echo"


def test_windows_are_given_back_while_data_comes() -> None:
    connection, opened = whole()
    connection.receive(HELLO + OPEN)
    fetched(connection)
    for _ in range(33):
        connection.receive(data(1, bytes(16_384)))
    (update,) = frames(fetched(connection))
    assert (update.stream_id, update.window_increment) == (1, 33 * 16_384)  # type: ignore[attr-defined]
    assert len(opened[0].body) == connection.uncredited == 33 * 16_384


def test_settings_are_what_this_server_announces() -> None:
    connection, _ = whole()
    settings, window_update = frames(connection.take())
    assert (settings.settings[3], window_update.stream_id) == (4_096, 0)  # type: ignore[attr-defined]


def test_a_connection_that_is_terminated_loses_its_streams_once() -> None:
    connection, opened = whole(b"x" * 100_000)
    connection.receive(HELLO + headers(1) + headers(3))
    assert connection.buffered > 0
    for _ in range(2):
        connection.terminate()
    assert [stream.losses for stream in opened] == [1, 1]
    assert connection.buffered == connection.budget.buffered == 0
    assert connection.failed


def test_streams_have_numbers_of_31_bits() -> None:
    connection, opened = whole()
    last = headers(0x7FFFFFFF)
    connection.receive(HELLO + headers(0x12345679) + last[:5] + b"\xff" + last[6:])  # the reserved bit means nothing
    assert [stream.number for stream in opened] == [0x12345679, 0x7FFFFFFF]


def test_streams_after_the_final_goaway_are_refused() -> None:
    connection, opened = whole()
    connection.receive(HELLO + headers(1))
    connection.go_away(final=False)
    connection.receive(headers(3))
    connection.go_away(final=True)
    fetched(connection)
    connection.receive(headers(5) + data(3, b"a", ends=True))
    answer = fetched(connection)
    assert errors(answer) == [("RST_STREAM", 5, REFUSED)]
    assert Answers().read(answer).data == {3: b"a"}
    assert len(opened) == 2


@pytest.mark.parametrize(("ends", "found"), [(False, []), (True, [("GOAWAY", 0, CLOSED)])])
def test_data_after_a_malformed_request_is_excused_unless_that_was_all(ends: bool, found: list[object]) -> None:
    connection, _ = whole()
    connection.receive(HELLO + headers(1, [("a", "b")], ends=ends))
    fetched(connection)
    connection.receive(data(1, b"late"))
    assert errors(fetched(connection)) == found


def test_a_stream_that_is_over_at_its_beginning_is_not_told_of_its_end() -> None:
    class Hasty(Whole):
        def begin(self) -> None:
            self.send(b"", OK, TAIL)

    connection = Connection(Hasty)
    connection.receive(HELLO + ENDED)
    assert Answers().read(fetched(connection)).ended == {1}
    check(connection)


def floods(served: Served, name: str, times: int) -> bytes:
    return b"".join(served.say(FLOODS[name][1](n)) for n in range(times))


@pytest.mark.parametrize("name", FLOODS)
def test_a_flood_earns_a_farewell(name: str) -> None:
    served = Served()
    served.say(HELLO)
    burst = FLOODS[name][0]
    assert ("GOAWAY", 0, CALM) not in errors(floods(served, name, burst - 1))
    answer = b"".join(served.say(FLOODS[name][1](burst - 1 + n)) for n in range(ROOM))
    assert errors(answer)[-1] == ("GOAWAY", 0, CALM)
    assert served.connection.failed
    served.check()


@pytest.mark.parametrize("name", ["PING", "WINDOW_UPDATE", "rapid resets"])
def test_time_makes_room_for_more(name: str) -> None:
    served = Served()
    burst, flood = FLOODS[name]
    served.connection.receive(HELLO + b"".join(map(flood, range(burst - 1))), 7.0)
    assert not served.connection.failed
    served.connection.receive(b"".join(flood(burst + n) for n in range(burst)), 7.0 + burst)
    assert not served.connection.failed

"""The engine's HTTP/2 against another implementation: the library ``h2`` as the client, with no socket between them."""

from __future__ import annotations

from random import Random

import pytest
from h2.events import ConnectionTerminated, PingAckReceived
from h2.settings import SettingCodes
from hypothesis import given, settings
from hypothesis import strategies as st

from extproc.grpc_server.metadata import custom_metadata
from extproc.http2.settings import STREAM_WINDOW
from extproc.http2.windows import CONNECTION_WINDOW
from tests.http2.pair import Pair, at_random
from tests.http2.served import Served, fetched, whole
from tests.http2.wire import HELLO, REQUEST, Answers, data, errors, frames, headers, message, raw

INITIAL_WINDOW = SettingCodes.INITIAL_WINDOW_SIZE
LARGE = bytes(range(256)) * 12_000  # 3 MB, of which no two places near each other look alike


def get(pair: Pair, number: int) -> bytes:
    """The answer, which must be whole."""
    got = pair.got[number]
    assert got.ended
    assert got.reset is None
    assert got.headers[0] == (b":status", b"200")
    assert got.trailers == [(b"end", b"yes")]
    return bytes(got.data)


@given(st.integers(0, 1 << 32), st.integers(1, 400))
@settings(max_examples=15, deadline=None)
def test_any_split_of_the_bytes_gives_the_same(seed: int, most: int) -> None:
    random = Random(seed)
    server, opened = whole()
    pair = Pair(server, at_random(random, most))
    bodies = [random.randbytes(random.choice([0, 1, 5, 300, 20_000])) for _ in range(4)]
    numbers = [pair.request([*REQUEST, ("x-n", str(n))], body) for n, body in enumerate(bodies)]
    pair.settle()
    assert [get(pair, number) for number in numbers] == bodies
    assert [dict(custom_metadata(stream.head.fields))["x-n"] for stream in opened] == ["0", "1", "2", "3"]
    assert not server.streams


def test_megabytes_both_ways_on_streams_side_by_side() -> None:
    server, _ = whole()
    pair = Pair(server)
    bodies = {pair.request(body=LARGE[n:]): LARGE[n:] for n in range(3)}
    for _ in range(3):
        pair.settle()
    assert all(get(pair, number) == body for number, body in bodies.items())


@given(st.integers(0, 1 << 32))
@settings(max_examples=25, deadline=None)
def test_small_windows_that_change_all_the_time(seed: int) -> None:
    random = Random(seed)
    server, _ = whole()
    pair = Pair(server, reads=False)
    pair.client.update_settings({INITIAL_WINDOW: random.choice([0, 1, 1000, 70_000])})
    bodies = {pair.request(body=LARGE[n : n + 100_000]): LARGE[n : n + 100_000] for n in range(3)}
    for _ in range(60):
        number = random.choice(list(bodies))
        match random.randrange(4):
            case 0:
                pair.client.update_settings({INITIAL_WINDOW: random.choice([0, 1, 50, 65_535, 200_000])})
            case 1 if number in server.streams:
                pair.client.increment_flow_control_window(random.randint(1, 50_000), number)
            case 2:
                pair.client.increment_flow_control_window(random.randint(1, 50_000))
            case _:
                pass
        pair.settle()  # h2 raises where more comes than its windows allow
    pair.client.update_settings({INITIAL_WINDOW: 1 << 20})
    pair.client.increment_flow_control_window(1 << 20)
    pair.settle()
    assert all(get(pair, number) == body for number, body in bodies.items())
    assert not server.waiting


def test_a_window_that_is_lowered_below_what_is_used() -> None:
    server, _ = whole(b"x" * 200_000)
    pair = Pair(server, reads=False)
    number = pair.request()
    pair.settle()
    assert len(pair.got[number].data) == 65_535
    pair.client.update_settings({INITIAL_WINDOW: 1000})
    pair.settle()
    stream = server.streams[number]
    assert stream.window == 1000 - 65_535
    pair.client.increment_flow_control_window(200_000)
    pair.client.increment_flow_control_window(64_535, number)
    pair.settle()
    assert len(pair.got[number].data) == 65_535
    pair.client.increment_flow_control_window(10, number)
    pair.settle()
    assert len(pair.got[number].data) == 65_545


def test_those_whose_own_window_is_shut_hold_up_nobody() -> None:
    server, _ = whole()
    pair = Pair(server, reads=False)
    pair.client.update_settings({INITIAL_WINDOW: 0})
    shut = pair.request(body=b"a" * 10)
    free = pair.request(body=b"b" * 10)
    pair.settle()
    assert not server.waiting
    pair.client.increment_flow_control_window(10, free)
    pair.settle()
    assert get(pair, free) == b"b" * 10
    assert shut in server.streams


def test_a_client_that_allows_no_table_of_headers() -> None:
    served = Served()
    pair = Pair(served.connection)
    pair.client.update_settings({SettingCodes.HEADER_TABLE_SIZE: 0})
    pair.settle()
    numbers = [pair.request(body=message(b"end:")), pair.request([*REQUEST[:2], (":path", "/none"), *REQUEST[3:]])]
    numbers.append(pair.request([(":method", "GET"), *REQUEST[1:]]))
    pair.settle()
    assert all(pair.got[number].ended for number in numbers)


def test_streams_that_wait_do_not_starve_the_others() -> None:
    """The client fetches nothing of nine streams: what it sends on a tenth is still looked at and paid back."""
    server, opened = whole(b"x" * 10)
    pair = Pair(server)
    numbers = [pair.request(body=b"", ends=False) for _ in range(10)]
    pair.body(numbers[0], b"y" * (CONNECTION_WINDOW // 2 - 200_000), ends=False)
    pair.settle()  # owed, but not paid back yet
    pair.client.update_settings({INITIAL_WINDOW: 0})
    pair.settle()
    for stream in opened[1:]:
        stream.send(b"more")
    pair.settle()
    for number in numbers[1:]:
        pair.body(number, b"z" * STREAM_WINDOW, ends=False)
    pair.settle()
    pair.body(numbers[0], b"y" * (1 << 23), ends=False)
    pair.settle()
    assert len(opened[0].body) == CONNECTION_WINDOW // 2 - 200_000 + (1 << 23)


def test_a_stream_that_waits_is_not_paid_back_before_it_is_read() -> None:
    server, opened = whole(b"x" * 100_000)
    pair = Pair(server, reads=False)
    number = pair.request(body=b"y" * (3 * STREAM_WINDOW))
    pair.settle()
    assert len(opened[0].body) <= STREAM_WINDOW
    pair.client.increment_flow_control_window(100_000)
    pair.client.increment_flow_control_window(100_000, number)
    pair.settle()
    assert len(opened[0].body) == 3 * STREAM_WINDOW


@given(st.integers(0, 1 << 32))
@settings(max_examples=40, deadline=None)
def test_resets_at_any_moment(seed: int) -> None:
    random = Random(seed)
    served = Served()
    pair = Pair(served.connection, reads=False)
    numbers = []
    for _ in range(12):
        said = [random.choice([b"a", b"none", b"much", b"end:", b"two:", b"say:no"]) for _ in range(3)]
        number = pair.request(body=b"".join(map(message, said)), ends=random.random() < 0.5)
        numbers.append(number)
        if random.random() < 0.5:
            pair.settle()
        if (gone := random.choice(numbers)) not in pair.got or not pair.got[gone].ended:
            pair.client.reset_stream(gone)
            pair._unsent.pop(gone, None)
            numbers.remove(gone)
        served.check()
    pair.settle()
    served.check()
    served.connection.terminate()
    served.check()
    assert all(handler.closed == 1 for handler in served.handlers)


def test_late_words_on_thousands_of_streams_that_we_ended_are_no_error() -> None:
    """They were under way when we ended the streams: the connection, and whoever else is on it, goes on."""
    served = Served()
    pair = Pair(served.connection)
    numbers = [pair.request(body=message(b"end:"), ends=False) for _ in range(1500)]
    pair._write()
    served.connection.receive(pair.client.data_to_send())
    for number in numbers:  # it has not heard yet that they are over
        pair.client.send_data(number, message(b"more"), end_stream=True)
    served.connection.receive(pair.client.data_to_send())
    pair._receive(fetched(served.connection))
    assert not [event for event in pair.events if isinstance(event, ConnectionTerminated)]
    assert all(pair.got[number].trailers for number in numbers)


def test_the_client_is_told_that_it_need_not_finish() -> None:
    served = Served()
    pair = Pair(served.connection)
    number = pair.request(body=message(b"end:"), ends=False)
    pair.settle()
    assert dict(pair.got[number].trailers) == {b"grpc-status": b"0"}
    assert pair.got[number].reset == 0


def test_pings_priorities_padding_and_long_blocks() -> None:
    server, opened = whole()
    pair = Pair(server)
    pair.client.ping(b"12345678")
    number = pair.client.get_next_available_stream_id()
    long = [(f"x-{n}", "v" * 900) for n in range(40)]  # of three frames
    pair.client.send_headers(number, [*REQUEST, *long])
    pair.client.prioritize(number, weight=1, depends_on=0)
    pair.client.send_data(number, b"body", pad_length=200, end_stream=False)
    pair.client.send_data(number, b"", pad_length=0, end_stream=False)
    pair.client.send_headers(number, [("a-trailer", "1")], end_stream=True)
    other = number + 2
    pair.client.send_headers(other, REQUEST, priority_weight=10, priority_depends_on=number, end_stream=True)
    pair.settle()
    assert get(pair, number) == b"body"
    assert get(pair, other) == b""
    assert len(custom_metadata(opened[0].head.fields)) == 40
    assert [event.ping_data for event in pair.events if isinstance(event, PingAckReceived)] == [b"12345678"]


def test_leaving_in_two_steps() -> None:
    server, opened = whole()
    server.receive(HELLO + headers(1))
    fetched(server)
    server.go_away(final=False)
    server.ping()
    farewell, ping = frames(fetched(server))  # h2 takes a GOAWAY for the end, and is no client for this
    assert (farewell.last_stream_id, farewell.error_code) == ((1 << 31) - 1, 0)  # type: ignore[attr-defined]
    server.receive(headers(3, ends=True))  # opened in ignorance, and served
    assert Answers().read(fetched(server)).ended == {3}
    server.receive(raw(6, 1, 0, ping.opaque_data))  # type: ignore[attr-defined]
    assert not server.ping_pending
    server.go_away(final=True)
    server.receive(headers(5))
    (farewell, *_) = answer = frames(fetched(server))
    assert farewell.last_stream_id == 3  # type: ignore[attr-defined]
    assert errors(b"".join(frame.serialize() for frame in answer)) == [("GOAWAY", 0, 0), ("RST_STREAM", 5, 7)]
    assert [stream.number for stream in opened] == [1, 3]
    server.receive(data(1, b"a", ends=True) + data(5, b"late", ends=True))  # what is open goes on
    assert Answers().read(fetched(server)).ended == {1}


def test_the_client_leaves_first() -> None:
    served = Served()
    pair = Pair(served.connection)
    number = pair.request(body=message(b"a"), ends=False)
    pair.settle()
    pair.client.close_connection()
    served.connection.receive(pair.client.data_to_send())
    served.check()
    assert number in served.connection.streams  # §6.8: what is open goes on


def test_an_answer_while_the_client_still_sends() -> None:
    served = Served()
    pair = Pair(served.connection)
    number = pair.request(body=message("say:nö".encode()) + b"x" * 5_000_000, ends=False)
    pair.settle()
    served.check()
    assert dict(pair.got[number].trailers or pair.got[number].headers)[b"grpc-message"] == b"n%C3%B6"
    again = pair.request(body=message(b"a"))
    pair.settle()
    assert bytes(pair.got[again].data) == message(b"a")


@pytest.mark.parametrize("most", [1, 7, 1000])
def test_a_mebibyte_byte_by_byte_or_so(most: int) -> None:
    server, opened = whole()
    pair = Pair(server, at_random(Random(most), most))
    body = LARGE[: 2000 * most]
    number = pair.request(body=body)
    pair.settle()
    assert get(pair, number) == body
    assert len(opened) == 1

"""What a stream sends as windows allow, what waits, and when it is told; on a connection that records."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from extproc.http2.memory_budget import MAX_QUEUED, MemoryBudget
from extproc.http2.stream import ConnectionSender, Stream
from tests.http2.wire import frames

HEAD, TRAILERS = b"\x88", b"\x00\x03end\x03yes"
WIDE = 1 << 30


class Recorder(ConnectionSender):
    """Knows what its streams have called."""

    def __init__(self, window: int = WIDE, initial_window: int = WIDE) -> None:
        super().__init__(MemoryBudget())
        self.window, self.initial_window = window, initial_window
        self.calls: list[str] = []

    def defer(self, stream: Stream) -> None:
        self.calls.append(f"defer {stream.number}")

    def release(self, stream: Stream) -> None:
        self.calls.append(f"release {stream.number}")

    def close_stream(self, stream: Stream) -> None:
        self.calls.append(f"close {stream.number}")

    def fetched(self) -> list[tuple[str, int, bytes, bool]]:
        """Type, stream, content and whether it ends the stream, of each frame; all has gone then."""
        data = self.take()
        self.queued -= len(data)
        found = []
        for frame in frames(data):
            content = getattr(frame, "data", b"")
            found.append((type(frame).__name__[:-5], frame.stream_id, content, "END_STREAM" in frame.flags))
        return found


class Told(Stream):
    """Knows when it was drained."""

    def __init__(self, connection: ConnectionSender, number: int = 1) -> None:
        super().__init__(connection, number)
        self.drains = 0

    def drained(self) -> None:
        self.drains += 1


def data_of(found: list[tuple[str, int, bytes, bool]]) -> list[bytes]:
    return [content for kind, _, content, _ in found if kind == "Data"]


def test_an_answer_that_has_room_is_sent_at_once() -> None:
    connection = Recorder()
    stream = Told(connection, 5)
    stream.open = False
    stream.send(b"abc", HEAD, TRAILERS)
    assert connection.fetched() == [
        ("Headers", 5, HEAD, False),
        ("Data", 5, b"abc", False),
        ("Headers", 5, TRAILERS, True),
    ]
    assert connection.calls == ["close 5"]
    assert stream.window == connection.window == WIDE - 3
    assert stream.drains == connection.queued == connection.buffered == 0
    assert stream.waiting is None


def test_a_client_that_has_not_ended_is_told_that_it_need_not() -> None:
    connection = Recorder()
    Told(connection).send(b"", b"", TRAILERS)
    assert [frame[0] for frame in connection.fetched()] == ["Headers", "RstStream"]


@pytest.mark.parametrize("size", [1, 16_384, 16_385, 40_000])
def test_a_frame_has_at_most_16_kib(size: int) -> None:
    connection = Recorder()
    connection.work = 10
    stream = Told(connection)
    stream.send(b"x" * size, HEAD)
    found = connection.fetched()
    sizes = [min(16_384, size - at) for at in range(0, size, 16_384)]
    assert [len(piece) for piece in data_of(found)] == sizes
    assert stream.window == connection.window == WIDE - size
    assert connection.work == 10 - (len(sizes) if size > 16_384 else 0)
    assert (stream.waiting, connection.buffered, connection.budget.buffered, stream.drains) == (None, 0, 0, 0)


@pytest.mark.parametrize(("own", "connections"), [(10, 100), (100, 10), (10, 10)])
def test_what_has_no_room_in_a_window_waits(own: int, connections: int) -> None:
    connection = Recorder(connections, own)
    stream = Told(connection)
    stream.send(b"x" * 10)
    assert data_of(connection.fetched()) == [b"x" * 10]
    assert connection.work == 0  # it has not waited
    stream.send(b"0123456789abcdef", b"", TRAILERS)
    assert connection.fetched() == []
    assert connection.buffered == connection.budget.buffered == 16
    assert (1 in connection.waiting) == (own > 10)
    stream.window += 4
    connection.window += 4
    stream.flush()
    assert connection.fetched()[:1] == [("Data", 1, b"0123", False)]
    assert connection.buffered == 12
    assert stream.drains == 0
    stream.window += 100
    connection.window += 100
    stream.flush()
    assert [frame[:3] for frame in connection.fetched()] == [
        (
            "Data",
            1,
            b"456789abcdef",
        ),
        ("Headers", 1, TRAILERS),
        ("RstStream", 1, b""),
    ]
    assert connection.calls == ["close 1"]
    assert (connection.buffered, connection.budget.buffered, len(connection.waiting), stream.drains) == (0, 0, 0, 0)


def test_what_is_sent_later_waits_behind_what_waits() -> None:
    connection = Recorder(initial_window=0)
    stream = Told(connection)
    stream.send(b"first", HEAD)
    stream.send(b"second")
    stream.send(b"")
    assert connection.fetched() == [("Headers", 1, HEAD, False)]
    assert connection.buffered == 11
    stream.window = 100
    stream.send(b"third")
    assert data_of(connection.fetched()) == [b"first", b"second", b"third"]
    assert stream.drains == 1
    assert stream.waiting is None


def test_trailers_wait_behind_data() -> None:
    connection = Recorder(initial_window=0)
    stream = Told(connection)
    stream.send(b"data")
    stream.send(b"", b"", TRAILERS)
    assert connection.fetched() == []
    assert connection.calls == []
    stream.window = 4
    stream.flush()
    assert [frame[0] for frame in connection.fetched()] == ["Data", "Headers", "RstStream"]


def test_a_client_that_does_not_fetch_makes_streams_wait() -> None:
    connection = Recorder()
    stream = Told(connection)
    connection.queued = MAX_QUEUED - 1
    stream.send(b"a")
    assert stream.waiting is None  # the bound may be passed by one frame
    stream.send(b"bc")
    assert list(connection.waiting) == [1]
    assert data_of(connection.fetched()) == [b"a"]
    connection.queued = MAX_QUEUED - 1
    stream.flush()
    assert data_of(connection.fetched()) == [b"b"]
    assert stream.drains == 0
    connection.queued = 0
    stream.flush()
    assert data_of(connection.fetched()) == [b"c"]
    assert stream.drains == 1


def test_a_queue_of_a_mebibyte_makes_streams_wait() -> None:
    assert MAX_QUEUED == 1 << 20
    connection = Recorder()
    connection.queued = MAX_QUEUED
    stream = Told(connection)
    stream.send(b"a")
    assert (stream.waiting is None, list(connection.waiting)) == (False, [1])


def test_a_full_queue_holds_no_trailers_back() -> None:
    connection = Recorder(window=0, initial_window=0)
    connection.queued = 2 * MAX_QUEUED
    stream = Told(connection)
    stream.send(b"", HEAD, TRAILERS)
    assert stream.waiting is None
    assert connection.calls == ["close 1"]


def test_whoever_waits_for_its_own_window_is_not_among_those_who_wait_for_the_connection() -> None:
    connection = Recorder(window=5, initial_window=10)
    stream = Told(connection)
    stream.send(b"x" * 20)
    assert list(connection.waiting) == [1]
    connection.window += 100
    stream.flush()
    assert stream.window == 0
    assert not connection.waiting
    assert stream.waiting


def test_it_is_drained_once_and_releases_what_was_withheld() -> None:
    connection = Recorder(initial_window=0)
    stream = Told(connection)
    stream.send(b"ab")
    stream.withheld = 7
    stream.flush()
    assert (stream.drains, connection.calls) == (0, [])
    stream.window = 2
    stream.flush()
    assert (stream.drains, connection.calls) == (1, ["release 1"])
    stream.flush()
    assert (stream.drains, connection.calls) == (1, ["release 1"])


def test_nothing_is_released_while_more_waits() -> None:
    class More(Told):
        def drained(self) -> None:
            super().drained()
            self.send(b"more")

    connection = Recorder(initial_window=0)
    stream = More(connection)
    stream.send(b"ab")
    stream.withheld, stream.window = 7, 2
    stream.flush()
    assert connection.calls == []
    assert connection.buffered == 4


def test_an_abort_drops_what_waits() -> None:
    connection = Recorder(window=1, initial_window=WIDE)
    stream, other = Told(connection), Told(connection, 3)
    stream.send(b"x" * 50, HEAD)
    stream.send(b"y" * 50)
    other.send(b"z" * 5)
    assert connection.buffered == 104
    connection.fetched()
    stream.abort(TRAILERS)
    assert [frame[0] for frame in connection.fetched()] == ["Headers", "RstStream"]
    assert connection.buffered == connection.budget.buffered == 5
    assert list(connection.waiting) == [3]
    other.drop_waiting()
    other.drop_waiting()
    assert (connection.buffered, len(connection.waiting), other.waiting) == (0, 0, None)


def test_a_new_stream_has_the_initial_window() -> None:
    stream = Stream(Recorder(initial_window=77), 9)
    assert (stream.window, stream.number, stream.open, stream.requested) == (77, 9, True, False)
    assert (stream.remaining, stream.uncredited, stream.withheld) == (None, 0, 0)
    assert ConnectionSender(MemoryBudget()).initial_window == ConnectionSender(MemoryBudget()).window == 65_535


def test_what_a_connection_must_do_is_abstract() -> None:
    connection = ConnectionSender(MemoryBudget())
    stream = Stream(connection, 1)
    for method in (connection.defer, connection.release, connection.close_stream):
        with pytest.raises(NotImplementedError):
            method(stream)
    for event in (stream.begin, stream.ended, stream.drained, stream.lost):
        event()
    stream.data(b"")
    assert connection.take() == b""


@given(
    st.lists(st.binary(max_size=40_000) | st.binary(max_size=20), max_size=6),
    st.lists(st.tuples(st.integers(0, 30_000), st.integers(0, 30_000)), max_size=8),
)
def test_any_windows_give_all_bytes_in_order(pieces: list[bytes], increments: list[tuple[int, int]]) -> None:
    connection = Recorder(1_000, 2_000)
    stream = Told(connection)
    sent = b""
    for piece in pieces:
        stream.send(piece)
        sent += b"".join(data_of(connection.fetched()))
    for own, connections in (*increments, (WIDE, WIDE)):
        stream.window += own
        connection.window += connections
        stream.flush()
        assert connection.buffered == sum(map(len, stream.waiting or ()))
        sent += b"".join(data_of(connection.fetched()))
        assert stream.window >= 0
        assert connection.window >= 0
    stream.flush()
    sent += b"".join(data_of(connection.fetched()))
    assert sent == b"".join(pieces)
    assert stream.waiting is None

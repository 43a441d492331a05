"""Flow control in both directions: what the client's windows let go, and when it gets ours back (RFC 9113 §6.9)."""

from __future__ import annotations

import pytest

from extproc.http2 import frames as f
from extproc.http2.flood_limits import STREAMS_PER_SETTINGS
from extproc.http2.frames import Http2ConnectionError
from extproc.http2.memory_budget import MAX_QUEUED, MemoryBudget
from extproc.http2.stream import Stream
from extproc.http2.windows import CONNECTION_WINDOW, CREDIT_THRESHOLD, FlowControl
from tests.http2.wire import frames


class Drainable(Stream):
    """Knows how often it was drained."""

    def __init__(self, connection: FlowControl, number: int) -> None:
        super().__init__(connection, number)
        self.drains = 0

    def drained(self) -> None:
        self.drains += 1


class Windows(FlowControl):
    """With streams of its own, and what was reset."""

    def __init__(self, *numbers: int) -> None:
        super().__init__(MemoryBudget())
        self.work = 1_000
        self.last_stream_id = max(numbers, default=0)
        self.resets: list[tuple[int, int]] = []
        for number in numbers:
            self.streams[number] = Drainable(self, number)

    def reset_stream(self, stream: Stream, code: int) -> None:
        self.resets.append((stream.number, code))

    def updates(self) -> list[tuple[int, int]]:
        """Stream and increment of each WINDOW_UPDATE that is queued."""
        found = frames(self.take())
        return [(frame.stream_id, frame.window_increment) for frame in found]  # type: ignore[attr-defined]

    def data(self) -> list[tuple[int, bytes]]:
        return [(frame.stream_id, frame.data) for frame in frames(self.take())]  # type: ignore[attr-defined]


def update(windows: FlowControl, number: int, increment: int) -> int | None:
    """The code of the connection error, if any."""
    try:
        windows.on_window_update(number, 0, increment.to_bytes(4))
    except Http2ConnectionError as error:
        return error.code
    return None


def test_windows_in_bytes() -> None:
    assert (CONNECTION_WINDOW, CREDIT_THRESHOLD) == (1 << 24, 1 << 19)


def test_the_connections_window_is_given_back_by_halves() -> None:
    windows = Windows()
    windows.credit(CONNECTION_WINDOW // 2)
    assert windows.updates() == []
    windows.credit(1)
    assert windows.updates() == [(0, CONNECTION_WINDOW // 2 + 1)]
    assert windows.uncredited == 0
    windows.credit(1)
    assert windows.updates() == []
    assert windows.uncredited == 1


def test_a_streams_window_is_given_back_by_halves() -> None:
    windows = Windows(1, 3)
    windows.credit(CREDIT_THRESHOLD, windows.streams[1])
    windows.credit(CREDIT_THRESHOLD, windows.streams[3])
    assert windows.updates() == []
    windows.credit(1, windows.streams[1])
    assert windows.updates() == [(1, CREDIT_THRESHOLD + 1)]
    assert [windows.streams[n].uncredited for n in (1, 3)] == [0, CREDIT_THRESHOLD]


def test_no_window_for_a_stream_that_is_ended_or_gone() -> None:
    windows = Windows(1, 3)
    gone = windows.streams.pop(1)
    windows.streams[3].open = False
    for stream in (gone, windows.streams[3]):
        windows.credit(CREDIT_THRESHOLD + 1, stream)
    assert windows.updates() == []
    assert windows.uncredited == 2 * CREDIT_THRESHOLD + 2


def test_what_is_withheld_is_given_back_by_release() -> None:
    windows = Windows(1)
    stream = windows.streams[1]
    windows.withhold(600_000, stream)
    windows.withhold(1, stream)
    assert (windows.withheld, stream.withheld, windows.uncredited, windows.updates()) == (600_001, 600_001, 0, [])
    windows.release(stream)
    assert (windows.withheld, stream.withheld, windows.uncredited) == (0, 0, 600_001)
    assert windows.updates() == [(1, 600_001)]


def test_the_more_is_withheld_the_sooner_the_others_get_their_window_back() -> None:
    windows = Windows(1)
    windows.withhold(CONNECTION_WINDOW - 100, windows.streams[1])
    windows.credit(50)
    assert windows.updates() == []
    windows.credit(1)
    assert windows.updates() == [(0, 51)]
    windows.credit(40)
    windows.withhold(22, windows.streams[1])  # leaves 78: half of that is below 40
    assert windows.updates() == [(0, 40)]


def test_more_than_the_connections_window_is_an_error() -> None:
    windows = Windows(1)
    windows.withhold(CONNECTION_WINDOW, windows.streams[1])
    with pytest.raises(Http2ConnectionError) as caught:
        windows.withhold(1, windows.streams[1])
    assert caught.value.code == f.FLOW_CONTROL_ERROR


def test_deferred_streams_are_drained_in_the_next_turn() -> None:
    windows = Windows(1, 3, 5)
    one, three, five = (windows.streams[n] for n in (1, 3, 5))
    windows.defer(one)
    windows.defer(three)
    assert windows.unfinished
    windows.streams[3] = Drainable(windows, 3)  # another of that number
    windows.resume_deferred()
    assert [stream.drains for stream in (one, three, five)] == [1, 0, 0]  # type: ignore[attr-defined]
    windows.resume_deferred()
    assert one.drains == 1  # type: ignore[attr-defined]


def waiting(*numbers: int) -> Windows:
    """Streams that have ten bytes each, and no room on the connection."""
    windows = Windows(*numbers)
    windows.window = 0
    for number in numbers:
        windows.streams[number].send(b"x" * 10)
    assert list(windows.waiting) == list(numbers)
    return windows


def test_the_connections_window_goes_to_those_who_wait_in_order() -> None:
    windows = waiting(1, 3, 5)
    assert update(windows, 0, 15) is None
    assert windows.data() == [(1, b"x" * 10), (3, b"x" * 5)]
    assert windows.window == 0
    assert windows.window_granted == 65_535 + 15
    assert update(windows, 0, 100) is None
    assert windows.data() == [(3, b"x" * 5), (5, b"x" * 10)]
    assert windows.window == 85


def test_a_window_of_one_byte_goes_too() -> None:
    windows = waiting(1)
    assert update(windows, 0, 1) is None
    assert windows.data() == [(1, b"x")]


def test_bytes_that_have_gone_make_room() -> None:
    windows = waiting(1)
    windows.window, windows.queued = 100, MAX_QUEUED + 5
    windows.sent(5)
    assert windows.data() == []
    windows.sent(4)
    assert windows.data() == [(1, b"x" * 4)]
    assert windows.queued == MAX_QUEUED - 4 + f.HEADER_SIZE + 4


@pytest.mark.parametrize("work", [3, 4])
def test_each_stream_that_is_tried_is_work_and_the_rest_is_for_the_next_turn(work: int) -> None:
    windows = waiting(1, 3, 5)
    windows.window, windows.work = 100, work
    windows.flush_waiting()
    assert [number for number, _ in windows.data()] == [1, 3]  # one for the try, one for the frame
    assert windows.unfinished
    assert windows.work == work - 4
    windows.work, windows.unfinished = 100, False
    windows.resume_deferred()
    assert [number for number, _ in windows.data()] == [5]
    assert not windows.unfinished


def test_a_streams_own_window() -> None:
    windows = Windows(1)
    stream = windows.streams[1]
    stream.window = 0
    stream.send(b"x" * 10)
    assert update(windows, 1, 4) is None
    assert windows.data() == [(1, b"x" * 4)]
    assert windows.window_granted == 65_535
    assert update(windows, 1, 0x80000000 + 6) is None  # the reserved bit means nothing
    assert windows.data() == [(1, b"x" * 6)]
    assert stream.window == 0
    assert windows.resets == []


def test_windows_beyond_their_bounds() -> None:
    windows = Windows(1)
    most = f.MAX_WINDOW - 65_535
    assert update(windows, 0, most) is None
    assert update(windows, 0, 1) == f.FLOW_CONTROL_ERROR
    assert update(Windows(), 0, 0) == f.PROTOCOL_ERROR
    assert update(windows, 1, most) is None
    assert windows.resets == []
    assert update(windows, 1, 1) is None
    assert windows.resets == [(1, f.FLOW_CONTROL_ERROR)]
    assert update(Windows(1), 1, f.MAX_WINDOW) is None
    other = Windows(1)
    assert update(other, 1, 0) is None
    assert other.resets == [(1, f.PROTOCOL_ERROR)]


def test_updates_of_streams_that_are_gone_and_of_idle_ones() -> None:
    windows = Windows(1, 3)
    del windows.streams[1]
    assert update(windows, 1, 1) is None
    assert update(windows, 5, 1) == f.PROTOCOL_ERROR


@pytest.mark.parametrize("size", [0, 3, 5])
def test_updates_of_another_size(size: int) -> None:
    with pytest.raises(Http2ConnectionError) as caught:
        Windows(1).on_window_update(0, 0, bytes(size))
    assert caught.value.code == f.FRAME_SIZE_ERROR


def test_updates_are_counted() -> None:
    windows = Windows(1)
    assert [update(windows, 1, 1) for _ in range(10_001)] == [None] * 10_000 + [f.ENHANCE_YOUR_CALM]


def test_a_new_initial_window_changes_those_of_open_streams() -> None:
    windows = Windows(1, 3)
    windows.streams[3].window = 100_000
    windows.change_initial_window(65_535 - 70_000)
    assert [windows.streams[n].window for n in (1, 3)] == [-4_465, 30_000]
    assert Drainable(windows, 5).window == windows.initial_window == -4_465
    windows.change_initial_window(0)
    assert [windows.streams[n].window for n in (1, 3)] == [0, 34_465]


def test_a_new_initial_window_says_who_waits_for_the_connection() -> None:
    windows = waiting(1, 3, 5)
    windows.streams[5].drop_waiting()
    windows.streams[3].window = 1
    windows.change_initial_window(65_534)
    assert list(windows.waiting) == [1]  # 3 waits for its own, 5 for nothing
    windows.change_initial_window(65_535)
    assert sorted(windows.waiting) == [1, 3]


def test_a_stream_whose_window_grows_too_large_by_settings() -> None:
    windows = Windows(1)
    windows.streams[1].window = f.MAX_WINDOW
    windows.change_initial_window(65_535)
    with pytest.raises(Http2ConnectionError) as caught:
        windows.change_initial_window(65_536)
    assert caught.value.code == f.FLOW_CONTROL_ERROR


def test_settings_cost_by_the_streams_that_they_change() -> None:
    count = 4 * STREAMS_PER_SETTINGS
    windows = Windows(*range(1, 2 * count, 2))
    for n in range(250):
        windows.change_initial_window(n)
    assert windows.work == 1_000 - 250 * (count // 4 + 1)
    windows.change_initial_window(249)  # no change
    assert windows.work == 1_000 - 250 * (count // 4 + 1)
    with pytest.raises(Http2ConnectionError) as caught:
        windows.change_initial_window(0)
    assert caught.value.code == f.ENHANCE_YOUR_CALM


def test_what_a_connection_must_do_is_abstract() -> None:
    control = FlowControl(MemoryBudget())
    with pytest.raises(NotImplementedError):
        control.reset_stream(Stream(control, 1), 0)
    assert (control.unfinished, control.uncredited, control.withheld) == (False, 0, 0)

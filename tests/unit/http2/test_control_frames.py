"""SETTINGS, PING, GOAWAY, PRIORITY and PUSH_PROMISE: what they change, what is answered, what is refused."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from extproc.http2 import frames as f
from extproc.http2.control_frames import ControlFrames
from extproc.http2.frames import Http2ConnectionError
from extproc.http2.memory_budget import MemoryBudget
from extproc.http2.stream import Stream
from tests.http2.wire import frames

Handle = Callable[[ControlFrames, int, int, bytes], None]


def control() -> ControlFrames:
    """One whose first frames have gone."""
    made = ControlFrames(MemoryBudget())
    made.take()
    return made


def sent(made: ControlFrames) -> list[Any]:
    return frames(made.take())


def test_a_connection_begins_with_settings_and_a_window() -> None:
    settings, window = sent(ControlFrames(MemoryBudget()))
    assert settings.settings == {3: 4_096, 4: 1 << 20, 6: 1 << 16}
    assert (window.stream_id, 65_535 + window.window_increment) == (0, 1 << 24)


def test_settings_are_applied_and_acknowledged() -> None:
    made = control()
    made.work = 10
    made.streams[1] = stream = Stream(made, 1)
    stream.window = 0
    stream.send(b"abc")
    made.on_settings(0, 0, b"\0\4\0\1\0\2" + b"\0\3\0\0\0\1")
    assert made.initial_window == 65_538
    acknowledgement, data = sent(made)
    assert set(acknowledgement.flags) == {"ACK"}
    assert data.data == b"abc"


def test_settings_without_a_window_change_none() -> None:
    made = control()
    made.on_settings(0, 0, b"\0\3\0\0\0\1")
    assert made.initial_window == 65_535
    assert len(sent(made)) == 1


def test_an_acknowledgement_is_not_acknowledged() -> None:
    made = control()
    made.on_settings(0, f.ACK, b"")
    assert sent(made) == []


def test_pings_are_answered() -> None:
    made = control()
    made.on_ping(0, 0, b"12345678")
    (answer,) = sent(made)
    assert (answer.opaque_data, set(answer.flags)) == (b"12345678", {"ACK"})


def test_a_ping_of_ours_is_pending_until_it_is_answered() -> None:
    made = control()
    assert not made.ping_pending
    made.ping()
    (ping,) = sent(made)
    assert set(ping.flags) == set()
    for flags, payload in ((f.ACK, b"12345678"), (0, ping.opaque_data)):
        made.on_ping(0, flags, payload)
        assert made.ping_pending
    made.take()
    made.on_ping(0, f.ACK, ping.opaque_data)
    assert not made.ping_pending
    assert sent(made) == []


def test_going_away_in_two_steps() -> None:
    made = control()
    made.last_stream_id = 7
    made.go_away(final=False)
    assert made.max_stream_id == f.MAX_STREAM_ID
    made.last_stream_id = 9
    made.go_away(final=True)
    assert made.max_stream_id == 9
    first, final = sent(made)
    assert [(frame.last_stream_id, frame.error_code) for frame in (first, final)] == [((1 << 31) - 1, 0), (9, 0)]


SETTINGS, PING = ControlFrames.on_settings, ControlFrames.on_ping
GOAWAY, PRIORITY, PUSH = ControlFrames.on_goaway, ControlFrames.on_priority, ControlFrames.on_push_promise


@pytest.mark.parametrize(
    ("handle", "number", "flags", "payload", "code"),
    [
        (SETTINGS, 1, 0, b"", f.PROTOCOL_ERROR),
        (SETTINGS, 0, 0, bytes(5), f.FRAME_SIZE_ERROR),
        (SETTINGS, 0, 0, bytes(7), f.FRAME_SIZE_ERROR),
        (SETTINGS, 0, f.ACK, bytes(6), f.FRAME_SIZE_ERROR),
        (SETTINGS, 0, 0, b"\0\2\0\0\0\2", f.PROTOCOL_ERROR),
        (PING, 1, 0, bytes(8), f.PROTOCOL_ERROR),
        (PING, 0, 0, bytes(7), f.FRAME_SIZE_ERROR),
        (PING, 0, 0, bytes(9), f.FRAME_SIZE_ERROR),
        (GOAWAY, 1, 0, bytes(8), f.PROTOCOL_ERROR),
        (GOAWAY, 0, 0, bytes(7), f.FRAME_SIZE_ERROR),
        (PRIORITY, 0, 0, bytes(5), f.PROTOCOL_ERROR),
        (PRIORITY, 1, 0, bytes(4), f.FRAME_SIZE_ERROR),
        (PRIORITY, 1, 0, bytes(6), f.FRAME_SIZE_ERROR),
        (PRIORITY, 1, 0, b"\0\0\0\1\0", f.PROTOCOL_ERROR),
        (PUSH, 1, f.END_HEADERS, bytes(4), f.PROTOCOL_ERROR),
    ],
)
def test_what_is_refused(handle: Handle, number: int, flags: int, payload: bytes, code: int) -> None:
    made = control()
    with pytest.raises(Http2ConnectionError) as caught:
        handle(made, number, flags, payload)
    assert caught.value.code == code
    assert sent(made) == []


@pytest.mark.parametrize(
    ("handle", "number", "flags", "payload", "burst"),
    [
        (SETTINGS, 0, 0, b"", 1_000),
        (SETTINGS, 0, f.ACK, b"", 1_000),
        (PING, 0, 0, bytes(8), 1_000),
        (PING, 0, f.ACK, bytes(8), 1_000),
        (GOAWAY, 0, 0, bytes(8), 100),
        (GOAWAY, 0, 0, bytes(30), 100),
        (PRIORITY, 3, 0, bytes(5), 1_000),
    ],
)
def test_each_is_counted(handle: Handle, number: int, flags: int, payload: bytes, burst: int) -> None:
    made = control()
    for _ in range(burst):
        handle(made, number, flags, payload)
    with pytest.raises(Http2ConnectionError) as caught:
        handle(made, number, flags, payload)
    assert caught.value.code == f.ENHANCE_YOUR_CALM

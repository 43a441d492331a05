"""Frames as bytes, held against the library ``hyperframe``, and what of a frame is refused."""

from __future__ import annotations

from typing import Any

import pytest
from hyperframe.frame import Frame

from extproc.http2 import frames as f
from tests.http2.wire import PREFACE, raw


def parsed(data: bytes) -> Any:
    """The one frame in ``data``, as the library has it."""
    frame, length = Frame.parse_frame_header(memoryview(data[:9]))
    assert len(data) == f.HEADER_SIZE + length
    frame.parse_body(memoryview(data[9:]))
    return frame


def test_types_are_those_of_the_rfc() -> None:
    types = {frame.__name__: kind for kind, frame in enumerate(map(type, map(parsed, EXAMPLES)))}
    assert types == {
        "DataFrame": f.DATA,
        "HeadersFrame": f.HEADERS,
        "PriorityFrame": f.PRIORITY,
        "RstStreamFrame": f.RST_STREAM,
        "SettingsFrame": f.SETTINGS,
        "PushPromiseFrame": f.PUSH_PROMISE,
        "PingFrame": f.PING,
        "GoAwayFrame": f.GOAWAY,
        "WindowUpdateFrame": f.WINDOW_UPDATE,
        "ContinuationFrame": f.CONTINUATION,
    }


EXAMPLES = [
    f.frame(0, 0, 1, b""),
    f.frame(1, f.END_HEADERS, 1, b""),
    f.frame(2, 0, 1, bytes(5)),
    f.frame(3, 0, 1, bytes(4)),
    f.frame(4, 0, 0, b""),
    f.frame(5, f.END_HEADERS, 1, b"\0\0\0\2"),
    f.frame(6, 0, 0, bytes(8)),
    f.frame(7, 0, 0, bytes(8)),
    f.frame(8, 0, 0, b"\0\0\0\1"),
    f.frame(9, f.END_HEADERS, 1, b""),
]


@pytest.mark.parametrize(
    ("kind", "flag", "name"),
    [
        (f.DATA, f.END_STREAM, "END_STREAM"),
        (f.PING, f.ACK, "ACK"),
        (f.HEADERS, f.END_HEADERS, "END_HEADERS"),
        (f.DATA, f.PADDED, "PADDED"),
        (f.HEADERS, f.PRIORITY_FLAG, "PRIORITY"),
    ],
)
def test_flags(kind: int, flag: int, name: str) -> None:
    assert set(parsed(f.frame(kind, flag, kind != f.PING, bytes(8))).flags) == {name}


def test_a_frame() -> None:
    frame = parsed(f.frame(f.DATA, 0, 70_001, b"x" * f.MAX_FRAME_SIZE))
    assert (frame.stream_id, frame.data) == (70_001, b"x" * 16_384)


def test_settings() -> None:
    assert parsed(f.settings({})).settings == {}
    values = {1: 0, 2: 1, 3: 4_096, 4: (1 << 31) - 1, 5: 16_384, 6: 1 << 16}
    frame = parsed(f.settings(values))
    assert (frame.settings, frame.stream_id, set(frame.flags)) == (values, 0, set())
    names = (f.HEADER_TABLE_SIZE, f.ENABLE_PUSH, f.MAX_CONCURRENT_STREAMS, f.INITIAL_WINDOW_SIZE)
    assert (*names, f.SETTINGS_MAX_FRAME_SIZE, f.MAX_HEADER_LIST_SIZE) == (1, 2, 3, 4, 5, 6)


def test_window_updates_and_resets() -> None:
    update = parsed(f.window_update(3, (1 << 31) - 1))
    assert (update.stream_id, update.window_increment) == (3, f.MAX_WINDOW)
    reset = parsed(f.rst_stream(5, f.CANCEL))
    assert (reset.stream_id, reset.error_code, set(reset.flags)) == (5, 8, set())


def test_a_reset_has_no_flags() -> None:
    assert f.rst_stream(5, 8) == bytes.fromhex("000004 03 00 00000005 00000008")


def test_a_goaway_has_at_most_200_bytes_of_text() -> None:
    frame = parsed(f.goaway(f.MAX_STREAM_ID, f.ENHANCE_YOUR_CALM, "too many"))
    assert (frame.stream_id, frame.last_stream_id, frame.error_code) == (0, (1 << 31) - 1, 11)
    assert frame.additional_data == b"too many"
    assert parsed(f.goaway(1, 0)).additional_data == b""
    assert parsed(f.goaway(1, 0, "ü" * 300)).additional_data == "ü".encode() * 100


def test_error_codes_are_those_of_the_rfc() -> None:
    assert (f.NO_ERROR, f.PROTOCOL_ERROR, f.INTERNAL_ERROR, f.FLOW_CONTROL_ERROR) == (0, 1, 2, 3)
    assert (f.STREAM_CLOSED, f.FRAME_SIZE_ERROR, f.REFUSED_STREAM) == (5, 6, 7)
    assert (f.CANCEL, f.COMPRESSION_ERROR, f.ENHANCE_YOUR_CALM) == (8, 9, 11)


def test_the_preface_and_the_header_of_settings_are_awaited() -> None:
    hello = PREFACE + f.settings({4: 1})
    for size in range(len(PREFACE) + f.HEADER_SIZE):
        assert f.preface_size(hello[:size]) == 0
    for size in range(len(PREFACE) + f.HEADER_SIZE, len(hello) + 1):
        assert f.preface_size(hello[:size]) == len(PREFACE)


@pytest.mark.parametrize(
    "data", [b"G", b"GET / HTTP/1.1\r\n\r\n", PREFACE[:23] + b"x", PREFACE + raw(f.PING, 0, 0, bytes(8))]
)
def test_another_preface_is_refused(data: bytes) -> None:
    with pytest.raises(f.Http2ConnectionError) as caught:
        f.preface_size(data)
    assert caught.value.code == f.PROTOCOL_ERROR


@pytest.mark.parametrize(
    ("payload", "flags", "content"),
    [
        (b"\2abc", 0, b"\2abc"),
        (b"", 0, b""),
        (b"\0abc", f.PADDED, b"abc"),
        (b"\2abc", f.PADDED, b"a"),
        (b"\3abc", f.PADDED, b""),
        (b"\0", f.PADDED | f.END_STREAM, b""),
    ],
)
def test_padding_is_left_out(payload: bytes, flags: int, content: bytes) -> None:
    assert f.without_padding(payload, flags) == content


@pytest.mark.parametrize("payload", [b"", b"\1", b"\4abc", b"\xff" + bytes(200)])
def test_too_much_padding_is_refused(payload: bytes) -> None:
    with pytest.raises(f.Http2ConnectionError, match="more padding than payload") as caught:
        f.without_padding(payload, f.PADDED)
    assert caught.value.code == f.PROTOCOL_ERROR


def test_priorities() -> None:
    f.check_priority(3, b"\0\0\0\1\x10")
    f.check_priority(1, b"\x80\0\0\3\x10rest")  # exclusive
    for stream, priority, code in (
        (3, b"\0\0\0\3\x10", f.PROTOCOL_ERROR),
        (3, b"\x80\0\0\3\x10", f.PROTOCOL_ERROR),
        (3, b"\0\0\0\1", f.FRAME_SIZE_ERROR),
        (3, b"", f.FRAME_SIZE_ERROR),
    ):
        with pytest.raises(f.Http2ConnectionError) as caught:
            f.check_priority(stream, priority)
        assert caught.value.code == code

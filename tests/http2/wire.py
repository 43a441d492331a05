"""Frames as a client writes and reads them, by other hands than the engine's: ``hyperframe`` and ``hpack``."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from hpack import Decoder, Encoder
from hyperframe.frame import (
    DataFrame,
    Frame,
    GoAwayFrame,
    HeadersFrame,
    RstStreamFrame,
    SettingsFrame,
    WindowUpdateFrame,
)

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
PATH = "/test.Service/Echo"
Fields = Sequence[tuple[str, str]]
REQUEST: Fields = (
    (":method", "POST"),
    (":scheme", "http"),
    (":path", PATH),
    (":authority", "test"),
    ("te", "trailers"),
    ("content-type", "application/grpc"),
)
HELLO = PREFACE + SettingsFrame(0).serialize()


def raw(kind: int, flags: int, stream: int, payload: bytes = b"", length: int | None = None) -> bytes:
    """Any frame at all, wrong ones too."""
    size = len(payload) if length is None else length
    return size.to_bytes(3) + bytes((kind, flags)) + stream.to_bytes(4) + payload


def block(fields: Iterable[tuple[str, str]] = REQUEST) -> bytes:
    """Headers that leave no trace in the table."""
    return bytes(Encoder().encode([(name, value, True) for name, value in fields], huffman=False))


def headers(stream: int, fields: Fields = REQUEST, *, ends: bool = False) -> bytes:
    return HeadersFrame(stream, block(fields), flags=["END_HEADERS", *(["END_STREAM"] if ends else [])]).serialize()


def data(stream: int, payload: bytes, *, ends: bool = False) -> bytes:
    return DataFrame(stream, payload, flags=["END_STREAM"] if ends else []).serialize()


def message(payload: bytes, flag: int = 0) -> bytes:
    """One of gRPC's."""
    return bytes((flag,)) + len(payload).to_bytes(4) + payload


def settings(values: dict[int, int]) -> bytes:
    return SettingsFrame(0, settings=values).serialize()


def window(stream: int, more: int) -> bytes:
    return WindowUpdateFrame(stream, window_increment=more).serialize()


def reset(stream: int, code: int = 8) -> bytes:
    return RstStreamFrame(stream, error_code=code).serialize()


def frames(answer: bytes) -> list[Frame]:
    """All that the server said; fails where a frame is cut off."""
    found, at = [], 0
    while at < len(answer):
        frame, length = Frame.parse_frame_header(memoryview(answer[at : at + 9]))
        frame.parse_body(memoryview(answer[at + 9 : at + 9 + length]))
        at += 9 + length
        assert at <= len(answer)
        found.append(frame)
    return found


def errors(answer: bytes) -> list[tuple[str, int, int]]:
    """The resets and farewells in it: kind, stream and code."""
    found = []
    for frame in frames(answer):
        if isinstance(frame, RstStreamFrame):
            found.append(("RST_STREAM", frame.stream_id, frame.error_code))
        elif isinstance(frame, GoAwayFrame):
            found.append(("GOAWAY", 0, frame.error_code))
    return found


class Answers:
    """What a client makes of the server's bytes, stream by stream."""

    def __init__(self) -> None:
        self._decoder = Decoder()
        self.fields: dict[int, list[tuple[str, str]]] = {}
        self.data: dict[int, bytes] = {}
        self.ended: set[int] = set()

    def read(self, answer: bytes) -> Answers:
        for frame in frames(answer):
            stream = frame.stream_id
            if isinstance(frame, HeadersFrame):
                found = [(str(name), str(value)) for name, value in self._decoder.decode(frame.data)]
                self.fields.setdefault(stream, []).extend(found)
            elif isinstance(frame, DataFrame):
                self.data[stream] = self.data.get(stream, b"") + frame.data
            if "END_STREAM" in frame.flags:
                self.ended.add(stream)
        return self

    def status(self, stream: int) -> tuple[str, str]:
        """gRPC's, and its message."""
        found = dict(self.fields[stream])
        return found.get("grpc-status", ""), found.get("grpc-message", "")

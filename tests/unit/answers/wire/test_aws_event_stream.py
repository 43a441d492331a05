"""AWS event streams: messages, their headers and checksums, and what is refused."""

from __future__ import annotations

from zlib import crc32

import pytest

from extproc.answers.wire.aws_event_stream import AwsEventStream
from extproc.answers.wire.bounded_buffer import MAX_WHOLE
from extproc.answers.wire.decoder import ERROR, MalformedAnswer
from tests.unit.answers.wire.framing import aws, read, spoiled


def test_headers_of_a_message() -> None:
    assert AwsEventStream().feed(aws(b"x", b"\0\0" * 8)) == [("", b"x", True)]
    with pytest.raises(MalformedAnswer):
        AwsEventStream().feed(aws(b"x", b"\0\0" * 9))


@pytest.mark.parametrize(
    ("named", "kind"),
    [
        ({"event_type": "chunk"}, "chunk"),
        ({"event_type": "chunk", "message_type": "event"}, "chunk"),
        ({"event_type": "chunk", "message_type": "error"}, ERROR),
        ({"exception_type": "throttlingException", "message_type": "exception"}, ERROR),
        ({}, ""),
    ],
)
def test_the_kind_is_in_the_headers(named: dict[str, str], kind: str) -> None:
    assert read(AwsEventStream, aws(b"x", b"", **named)) == [(kind, b"x", True)]


@pytest.mark.parametrize("at", range(len(aws(b"ab", event_type="c"))))
def test_every_bit_is_under_a_checksum(at: int) -> None:
    with pytest.raises(MalformedAnswer):
        read(AwsEventStream, spoiled(aws(b"ab", event_type="c"), at) + bytes(100))


@pytest.mark.parametrize("size", [MAX_WHOLE - 16, MAX_WHOLE - 15])
@pytest.mark.parametrize("step", [1000, 1 << 30])
def test_a_long_message_is_skipped(size: int, step: int) -> None:
    text = aws(bytes(size)) + aws(b"next")
    first, following = read(AwsEventStream, *(text[at : at + step] for at in range(0, len(text), step)))
    assert first == (("", bytes(size), True) if size + 16 <= MAX_WHOLE else ("", b"", False))
    assert following == ("", b"next", True)


@pytest.mark.parametrize("size", [0, 15, (24 << 20) + 1, (1 << 32) - 1])
def test_sizes_that_no_message_has(size: int) -> None:
    prelude = size.to_bytes(4) + bytes(4)
    with pytest.raises(MalformedAnswer):
        AwsEventStream().feed(prelude + crc32(prelude).to_bytes(4))


@pytest.mark.parametrize(
    ("headers", "fits"),
    [
        (b"\1a\0", True),
        (b"\1a\2x", True),
        (b"\1a\2", False),
        (b"\1a\x08" + bytes(8), True),
        (b"\1a\x08" + bytes(7), False),
        (b"\1a\x09" + bytes(16), True),
        (b"\1a\7\0\1x", True),
        (b"\1a\7\0\2x", False),
        (b"\1a\x0a", False),
        (b"\5a", False),
    ],
)
def test_values_end_within_the_headers(headers: bytes, fits: bool) -> None:
    if fits:
        assert AwsEventStream().feed(aws(b"x", headers)) == [("", b"x", True)]
    else:
        with pytest.raises(MalformedAnswer):
            AwsEventStream().feed(aws(b"x", headers))

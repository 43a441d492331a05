"""AWS event streams: messages, their headers and checksums, and what is refused."""

from __future__ import annotations

from zlib import crc32

import pytest

from extproc.answers.wire.aws_event_stream import AwsEventStream
from extproc.answers.wire.bounded_buffer import MAX_WHOLE
from extproc.answers.wire.decoder import CLIENT_ERROR, ERROR, MalformedAnswer
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
        ({"exception_type": "modelStreamErrorException", "message_type": "exception"}, ERROR),
        ({"exception_type": "validationException", "message_type": "exception"}, CLIENT_ERROR),
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


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        *((0, b""), (1, b""), (2, bytes(1)), (3, bytes(2)), (4, bytes(4)), (5, bytes(8))),
        *((6, b"\0\3abc"), (7, b"\0\3abc"), (8, bytes(8)), (9, bytes(16))),
    ],
)
def test_a_value_of_every_type_is_passed_over(kind: int, value: bytes) -> None:
    headers = b"\1a" + bytes([kind]) + value
    assert AwsEventStream().feed(aws(b"x", headers, event_type="chunk")) == [("chunk", b"x", True)]


@pytest.mark.parametrize("kind", [2, 6, 8])
def test_a_kind_is_a_string(kind: int) -> None:
    value = {2: b"x", 6: b"\0\5chunk", 8: b"\0\5chunk1"}[kind]
    header = bytes([11]) + b":event-type" + bytes([kind]) + value
    assert AwsEventStream().feed(aws(b"x", header)) == [("", b"x", True)]


def test_500_messages_at_once() -> None:
    assert len(AwsEventStream().feed(aws(b"") * 500)) == 500
    with pytest.raises(MalformedAnswer):
        AwsEventStream().feed(aws(b"") * 501)


def test_the_longest_message_that_there_can_be_is_skipped() -> None:
    prelude = (24 << 20).to_bytes(4) + bytes(4)
    decoder = AwsEventStream()
    assert decoder.feed(prelude + crc32(prelude).to_bytes(4)) == [("", b"", False)]
    assert decoder.feed(bytes((24 << 20) - 13)) == []
    assert decoder.feed(b"\0" + aws(b"next")) == [("", b"next", True)]


def test_headers_end_where_the_payload_begins() -> None:
    message = aws(b"payload", event_type="chunk")
    size = int.from_bytes(message[4:8])
    for wrong in (size + len(b"payload") + 1, 1 << 31):
        prelude = message[:4] + wrong.to_bytes(4)
        text = prelude + crc32(prelude).to_bytes(4) + message[12:-4]
        with pytest.raises(MalformedAnswer):
            AwsEventStream().feed(text + crc32(text).to_bytes(4))


def test_headers_do_not_end_within_the_checksum() -> None:
    """A message whose headers would be read if its checksum's first byte were the type of a value."""
    for salt in range(10_000):
        header = b"\2" + salt.to_bytes(2)
        prelude = (16 + len(header)).to_bytes(4) + (len(header) + 1).to_bytes(4)
        text = prelude + crc32(prelude).to_bytes(4) + header
        text += crc32(text).to_bytes(4)
        if text[-4] == 0:
            break
    assert text[-4] == 0
    with pytest.raises(MalformedAnswer):
        AwsEventStream().feed(text)


@pytest.mark.parametrize("behind", [0, 1, 2, 20])
def test_what_comes_after_a_long_message_is_read_from_its_first_byte(behind: int) -> None:
    text = aws(bytes(MAX_WHOLE)) + aws(b"next") + aws(b"last")
    cut = len(text) - len(aws(b"next") + aws(b"last")) + behind
    assert read(AwsEventStream, text[:cut], text[cut:]) == [("", b"", False), ("", b"next", True), ("", b"last", True)]


@pytest.mark.parametrize("headers", [b"\xffabc", b"\4abc", b"\3abc", b"\1"])
def test_a_name_that_is_longer_than_the_headers(headers: bytes) -> None:
    with pytest.raises(MalformedAnswer):
        AwsEventStream().feed(aws(b"", headers))

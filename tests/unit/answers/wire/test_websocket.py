"""WebSocket messages: the examples of the RFCs, however they are split, and what breaks their rules."""

from __future__ import annotations

import random
import tracemalloc
import zlib
from contextlib import suppress
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from extproc.answers.wire.answer_coding import MAX_UNPACKED, max_unpacked
from extproc.answers.wire.bounded_buffer import MAX_WHOLE, TAIL_SIZE
from extproc.answers.wire.decoder import EVENTS_PER_PIECE, Event, MalformedAnswer
from extproc.answers.wire.websocket import HEAD_SIZE, NO_CODE, WebSocketMessages

DEFLATE = "permessage-deflate"
FORGETFUL = "permessage-deflate; server_no_context_takeover; client_max_window_bits=15"


def read(*pieces: bytes, extensions: str = "") -> list[Event]:
    decoder = WebSocketMessages(extensions)
    found = [event for piece in pieces for event in decoder.feed(piece)]
    return [*found, *decoder.end()]


def frame(payload: bytes, first: int = 0x81, mask: bytes = b"", form: int = 0) -> bytes:
    """``form``: bytes in which the length is told at least."""
    size = len(payload)
    told = bytes([size]) if size < 126 and not form else b""
    if not told:
        told = b"\x7e" + size.to_bytes(2) if size < 1 << 16 and form < 8 else b"\x7f" + size.to_bytes(8)
    if mask:
        told = bytes([told[0] | 0x80]) + told[1:] + mask
        payload = bytes(byte ^ mask[n % 4] for n, byte in enumerate(payload))
    return bytes([first]) + told + payload


class Packer:
    """What a server does that compresses its messages."""

    def __init__(self, *, forgets: bool = False, window: int = 15) -> None:
        self._forgets, self._window = forgets, window
        self._packer = zlib.compressobj(wbits=-window)

    def __call__(self, message: bytes) -> bytes:
        packed = self._packer.compress(message) + self._packer.flush(zlib.Z_SYNC_FLUSH)
        if self._forgets:
            self._packer = zlib.compressobj(wbits=-self._window)
        return packed.removesuffix(b"\0\0\xff\xff")


@pytest.mark.parametrize(
    ("data", "messages"),
    [
        ("81 05 48 65 6c 6c 6f", [b"Hello"]),
        ("81 85 37 fa 21 3d 7f 9f 4d 51 58", [b"Hello"]),
        ("01 03 48 65 6c 80 02 6c 6f", [b"Hello"]),
        ("89 05 48 65 6c 6c 6f 8a 85 37 fa 21 3d 7f 9f 4d 51 58", []),
        ("01 03 48 65 6c 89 00 80 02 6c 6f", [b"Hello"]),
    ],
)
def test_examples_of_rfc_6455(data: str, messages: list[bytes]) -> None:
    text = bytes.fromhex(data)
    assert read(text) == [("", message, True) for message in messages]
    assert read(*(text[at : at + 1] for at in range(len(text)))) == read(text)


@pytest.mark.parametrize(
    ("data", "messages"),
    [
        ("c1 07 f2 48 cd c9 c9 07 00", [b"Hello"]),
        ("41 03 f2 48 cd 80 04 c9 c9 07 00", [b"Hello"]),
        ("c1 07 f2 48 cd c9 c9 07 00 c1 05 f2 00 11 00 00", [b"Hello", b"Hello"]),
        ("c1 0b 00 05 00 fa ff 48 65 6c 6c 6f 00", [b"Hello"]),
        ("c1 08 f3 48 cd c9 c9 07 00 00", [b"Hello"]),
        ("c1 0d f2 48 05 00 00 00 ff ff ca c9 c9 07 00", [b"Hello"]),
    ],
)
def test_examples_of_rfc_7692(data: str, messages: list[bytes]) -> None:
    text = bytes.fromhex(data)
    assert read(text, extensions=DEFLATE) == [("", message, True) for message in messages]
    for size in (1, 2, 3):
        pieces = (text[at : at + size] for at in range(0, len(text), size))
        assert read(*pieces, extensions=DEFLATE) == read(text, extensions=DEFLATE)


@pytest.mark.parametrize("size", [0, 1, 125, 126, 127, 65_535, 65_536, MAX_WHOLE])
@pytest.mark.parametrize("form", [0, 2, 8])
def test_lengths(size: int, form: int) -> None:
    payload = random.Random(size).randbytes(size)
    assert read(frame(payload, 0x82, form=form)) == [("", payload, True)]
    assert read(frame(payload, 0x82, b"\1\2\3\4", form)) == [("", payload, True)]


CONTROLS = st.sampled_from([frame(b"", 0x89), frame(b"ping", 0x89), frame(b"pong", 0x8A, b"mask")])
MESSAGES = st.lists(st.tuples(st.lists(st.binary(max_size=200), min_size=1, max_size=4), st.booleans()), max_size=6)


@given(MESSAGES, st.lists(CONTROLS, max_size=20), st.sampled_from(["", DEFLATE, FORGETFUL]), st.data())
def test_any_split_gives_the_same_messages(
    messages: list[tuple[list[bytes], bool]], controls: list[bytes], extensions: str, draw: st.DataObject
) -> None:
    pack, sent, between = Packer(forgets=extensions == FORGETFUL), [], iter(controls)
    for parts, wish in messages:
        packed = wish and bool(extensions)
        whole = pack(b"".join(parts)) if packed else b""
        frames = [whole[:3], whole[3:]] if packed else parts
        for n, part in enumerate(frames):
            first = (0x41 if packed else 0x01) if n == 0 else 0x00
            sent += [next(between, b""), frame(part, first | (0x80 if n == len(frames) - 1 else 0))]
    text = b"".join(sent)
    wanted = [("", b"".join(parts), True) for parts, _ in messages]
    assert read(text, extensions=extensions) == wanted
    cuts = draw.draw(st.lists(st.integers(0, len(text)), max_size=30))
    ends = sorted({0, *cuts, len(text)})
    assert read(*(text[a:b] for a, b in pairwise(ends)), extensions=extensions) == wanted
    assert read(*(text[at : at + 1] for at in range(len(text))), extensions=extensions) == wanted


@pytest.mark.parametrize("window", [9, 12, 15])
@pytest.mark.parametrize("forgets", [False, True])
def test_what_one_message_has_said_the_next_may_refer_to(window: int, *, forgets: bool) -> None:
    pack = Packer(forgets=forgets, window=window)
    messages = [b"the same words, over and over again %d" % n for n in range(5)]
    text = b"".join(frame(pack(message), 0xC1) for message in messages)
    name = DEFLATE + f"; server_max_window_bits={window}" + ("; server_no_context_takeover" if forgets else "")
    assert read(text, extensions=name) == [("", message, True) for message in messages]


def test_a_close_frame_is_the_end() -> None:
    assert NO_CODE == 1005  # RFC 6455 §7.4.1
    for payload, code in ((b"", NO_CODE), (b"\x03\xe8", 1000), (b"\x03\xf3bye", 1011)):
        text = frame(b"one") + frame(payload, 0x88) + b"\xff nothing of this is read"
        for step in (1, 1000):
            decoder = WebSocketMessages()
            found = [event for at in range(0, len(text), step) for event in decoder.feed(text[at : at + step])]
            assert (found, decoder.closed) == ([("", b"one", True)], code)


@pytest.mark.parametrize("extensions", ["", DEFLATE])
@pytest.mark.parametrize(
    "data",
    [
        *(frame(b"reserved", first) for first in (0x91, 0xA1, 0xF1, 0xC9, 0xC8)),
        *(frame(b"no such frame", 0x80 | opcode) for opcode in (3, 7, 11, 15)),
        frame(b"ping", 0x09),
        frame(bytes(126), 0x89),
        frame(bytes(200), 0x89),
        frame(bytes(126), 0x8B),
        frame(b"the rest of nothing", 0x80),
        frame(b"one", 0x01) + frame(b"two", 0x81),
        frame(b"one", 0x01) + frame(b"packed", 0xC0),
        b"\x81\xff" + bytes([0x80]) + bytes(11),
        b"HTTP/1.1 502 Bad Gateway\r\n",
        frame(b"x" * 3) * 1001,
        frame(b"") * 501,
    ],
)
def test_what_breaks_the_rules_is_refused(data: bytes, extensions: str) -> None:
    with pytest.raises(MalformedAnswer):
        read(data, extensions=extensions)


@pytest.mark.parametrize(
    "data",
    [
        frame(b"\xff\xff\xff no deflate", 0xC1),
        frame(Packer()(bytes(MAX_UNPACKED + 1)), 0xC1),
        frame(Packer()(bytes(MAX_UNPACKED // 2 + 1)), 0xC1) * 2,
        frame(b"\x03\x00" * 1000, 0xC1),
        frame(Packer()(b"said"), 0xC1) + frame(bytes.fromhex("f200110000"), 0xC1),
    ],
)
def test_compression_that_is_none_and_bombs_are_refused(data: bytes) -> None:
    with pytest.raises(MalformedAnswer):
        read(data, extensions=FORGETFUL)


def test_a_compressed_message_that_nobody_agreed_on() -> None:
    with pytest.raises(MalformedAnswer):
        read(frame(Packer()(b"Hello"), 0xC1))


@pytest.mark.parametrize(
    "name",
    [
        *("x-webkit-deflate-frame", "permessage-deflate, x-other", "permessage-bzip2; a=b"),
        *("permessage-deflate; server_no_context_takeover, x-other", "permessage-deflate; a; b, permessage-deflate"),
    ],
)
def test_an_extension_that_is_not_known(name: str) -> None:
    with pytest.raises(MalformedAnswer):
        WebSocketMessages(name)


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("step", [1000, 1 << 20])
def test_of_a_message_that_is_too_long_both_ends_are_kept(step: int, *, packed: bool) -> None:
    long = b'{"type":"x","delta":"' + random.Random(1).randbytes(3 * MAX_WHOLE).hex().encode() + b'","last":1}'
    text = frame(Packer()(long), 0xC1) if packed else frame(long[:70_000], 0x01) + frame(long[70_000:], 0x80)
    pieces = [text[at : at + step] for at in range(0, len(text), step)]
    assert read(*pieces, frame(b"next"), extensions=DEFLATE) == [
        (long[:HEAD_SIZE].decode(), long[-TAIL_SIZE:], False),
        ("", b"next", True),
    ]


def test_no_message_makes_it_grow() -> None:
    decoder = WebSocketMessages()
    piece = bytes(64 << 10)
    decoder.feed(b"\x82\x7f" + (1 << 40).to_bytes(8))
    tracemalloc.start()
    for _ in range(500):
        assert decoder.feed(piece) == []
    grown = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert grown < 2 * MAX_WHOLE


@given(st.binary(max_size=300), st.sampled_from(["", DEFLATE, FORGETFUL]))
def test_noise_ends_in_messages_or_in_a_refusal(text: bytes, extensions: str) -> None:
    with suppress(MalformedAnswer):
        assert isinstance(read(text, extensions=extensions), list)


def test_500_frames_at_once() -> None:
    assert len(read(frame(b"") * 500)) == 500


@pytest.mark.parametrize(("blocks", "fits"), [(7, True), (8, False)])
def test_a_message_of_several_final_blocks(blocks: int, *, fits: bool) -> None:
    """RFC 7692 §7.2.3.5; the last block of a message is the one of which the sender leaves out the end."""
    text = frame(bytes.fromhex("f348cdc9c90700") * blocks + b"\0", 0xC1)
    if fits:
        assert read(text, extensions=DEFLATE) == [("", b"Hello" * blocks, True)]
    else:
        with pytest.raises(MalformedAnswer):
            read(text, extensions=DEFLATE)


def test_of_a_long_message_512_bytes_are_kept_of_the_beginning() -> None:
    ((head, _, whole),) = read(frame(b"x" * (MAX_WHOLE + 1)))
    assert (head, whole) == ("x" * 512, False)


@pytest.mark.parametrize("size", [0, 1, 2])
def test_the_code_of_a_close_frame_in_pieces(size: int) -> None:
    text = frame(b"\x03\xe8bye", 0x88)
    decoder = WebSocketMessages()
    codes = []
    for piece in (text[: 2 + size], text[2 + size :]):
        decoder.feed(piece)
        codes.append(decoder.closed)
    assert codes == [None, 1000]
    one = WebSocketMessages()
    one.feed(frame(b"\x03", 0x88))
    assert one.closed == NO_CODE


def test_extensions_are_compared_without_case() -> None:
    packed = frame(Packer()(b"Hello"), 0xC1)
    for name in (" Permessage-Deflate ", "permessage-deflate ; SERVER_NO_CONTEXT_TAKEOVER"):
        assert read(packed, extensions=name) == [("", b"Hello", True)]
    assert read(frame(b"Hello"), extensions="  ") == [("", b"Hello", True)]


@pytest.mark.parametrize("mask", [b"", b"\1\2\3\4"])
@pytest.mark.parametrize("size", [0, 1, 4, 5, 9, 126, 70_000])
def test_a_frame_may_be_cut_anywhere(size: int, mask: bytes) -> None:
    payload = random.Random(size).randbytes(size)
    text = frame(b"first") + frame(payload, 0x82, mask) + frame(b"last", 0x81, mask)
    wanted = [("", b"first", True), ("", payload, True), ("", b"last", True)]
    for cut in range(min(len(text), 40)):
        assert read(text[:cut], text[cut:]) == wanted
        assert read(text[:cut], text[cut : cut + 3], b"", text[cut + 3 :]) == wanted


def test_a_message_is_given_with_its_last_byte() -> None:
    decoder = WebSocketMessages()
    assert decoder.feed(frame(b"")) == [("", b"", True)]
    assert decoder.feed(frame(b"", mask=b"mask")) == [("", b"", True)]
    assert decoder.feed(frame(b"one")[:-1]) == []
    assert decoder.feed(b"e" + frame(b"two")[:1]) == [("", b"one", True)]
    assert decoder.feed(frame(b"two")[1:]) == [("", b"two", True)]


def test_the_longest_frames() -> None:
    assert read(frame(bytes(125), 0x89) + frame(b"x")) == [("", b"x", True)]
    for size in (1 << 62, (1 << 63) - 1):
        assert read(b"\x82\x7f" + size.to_bytes(8) + b"x") == []


@pytest.mark.parametrize(("extensions", "paid"), [("", 64), (DEFLATE, 8)])
def test_after_500_frames_each_more_than_8_a_piece_needs_so_many_bytes(extensions: str, paid: int) -> None:
    decoder = WebSocketMessages(extensions)
    decoder.feed(frame(b"") * 500)
    two = frame(b"") + frame(b"x" * (paid - 4))
    assert len(decoder.feed(two * EVENTS_PER_PIECE)) == 2 * EVENTS_PER_PIECE
    with pytest.raises(MalformedAnswer):
        decoder.feed(two * (EVENTS_PER_PIECE - 1) + frame(b"") + frame(b"x" * (paid - 5)))


def final(message: bytes) -> bytes:
    """Compressed, with a final block at its end (RFC 7692 §7.2.3.4)."""
    packer = zlib.compressobj(wbits=-15)
    return packer.compress(message) + packer.flush(zlib.Z_FINISH)


def test_what_was_compressed_is_counted_without_its_compression() -> None:
    decoder = WebSocketMessages(DEFLATE)
    assert decoder.expanded == 0
    pack = Packer()
    decoder.feed(frame(pack(b"Hello"), 0xC1) + frame(b"plain") + frame(b"", 0x89))
    assert decoder.expanded == len(b"Hello")
    packed = final(b"four") + final(b"and eleven.") + b"\0"
    assert decoder.feed(frame(packed, 0xC1)) == [("", b"fourand eleven.", True)]
    assert decoder.expanded == len(b"Hello" + b"fourand eleven.")


@pytest.mark.parametrize(("more", "fits"), [(-1, True), (0, False)])
@pytest.mark.parametrize("times", [1, 2])
def test_messages_of_one_piece_unpack_to_less_than_its_limit(more: int, times: int, *, fits: bool) -> None:
    """A ping fills the piece up to the size of which the limit is the one that is wanted."""
    size = 2000
    limit = max_unpacked(size)
    sizes = [limit + more] if times == 1 else [limit // 2, limit - limit // 2 + more]
    pack = Packer()
    text = b"".join(frame(pack(bytes(each)), 0xC1) for each in sizes)
    while size - len(text) > 127:
        text += frame(bytes(min(size - len(text) - 4, 125)), 0x89)
    text += frame(bytes(size - len(text) - 2), 0x89)
    assert len(text) == size
    if fits:
        assert read(text, extensions=DEFLATE) == [("", bytes(each), True) for each in sizes]
    else:
        with pytest.raises(MalformedAnswer):
            read(text, extensions=DEFLATE)


def test_all_final_blocks_of_a_message_count_against_what_a_piece_may_unpack_to() -> None:
    one = frame(final(b"short") + final(bytes(80_000)) + b"\0", 0xC1)
    assert read(one, one, extensions=DEFLATE) == [("", b"short" + bytes(80_000), True)] * 2
    with pytest.raises(MalformedAnswer):
        read(one * 2, extensions=DEFLATE)

"""HPACK: the examples of RFC 7541, what must be refused, and the library ``hpack`` as an oracle for all else."""

from __future__ import annotations

import time
from collections.abc import Sequence

import pytest
from hpack import Encoder
from hpack.huffman import HuffmanEncoder
from hpack.huffman_constants import REQUEST_CODES, REQUEST_CODES_LENGTH
from hpack.table import HeaderTable
from hypothesis import given, settings
from hypothesis import strategies as st

from extproc.http2 import hpack
from extproc.http2.hpack import HeadersTooLarge, HpackDecoder, HpackError, TooManyInstructions
from extproc.http2.limits import MAX_BLOCK
from tests.http2.hpack_examples import EXAMPLES, pairs
from tests.http2.served import fetched, whole
from tests.http2.unpacked import Both, Pairs
from tests.http2.wire import HELLO, block, errors, raw

COMPRESSION, CALM = 9, 11
packed = HuffmanEncoder(REQUEST_CODES, REQUEST_CODES_LENGTH).encode


@pytest.mark.parametrize("name", EXAMPLES)
def test_the_examples_of_the_rfc(name: str) -> None:
    both = Both()
    for written, (fields, table, size) in zip(*EXAMPLES[name], strict=True):
        assert both.read(bytes.fromhex(written)) == pairs(*fields)
        assert both.table == pairs(*table)
        assert both.ours._size == size


def test_the_numbers_of_the_rfc() -> None:
    decoder = HpackDecoder()
    for written, number in (("2a", 10), ("3f9a0a", 1337)):
        decoder.read(bytes.fromhex(written))
        assert decoder._limit == number


def test_the_static_table_is_the_rfcs() -> None:
    assert [(field.name, field.value) for field in hpack._STATIC[1:]] == list(HeaderTable.STATIC_TABLE)


def number(value: int, prefix: int, first: int = 0, zeros: int = 0) -> bytes:
    """§5.1, if need be longer than it must be; ``first``: the bits before the prefix."""
    most = (1 << prefix) - 1
    if value < most:
        return bytes((first | value,))
    rest, out = value - most, [first | most]
    while rest >= 128 or zeros:
        out.append(rest & 127 | 128)
        zeros -= rest < 128
        rest >>= 7
    return bytes((*out, rest))


def string(value: bytes, *, code: bool = False) -> bytes:
    """§5.2."""
    return number(len(packed(value)), 7, 0x80) + packed(value) if code else number(len(value), 7) + value


LARGE = b"\x40\x01a" + string(b"v" * 4000)
REFUSED = {
    "2.3.3 an index beyond the tables": b"\xbe",
    "2.3.3 an index far beyond": number(1 << 30, 7, 0x80),
    "2.3.3 a name beyond the tables": b"\x7e\x01v",
    "2.3.3 an index that the same block's eviction made too large": LARGE + LARGE + b"\xbf",
    "5.1 a number that is cut off": b"\xff\x80",
    "5.1 a number of too many bytes": b"\x3f" + b"\x80" * 5 + b"\0",
    "5.1 a length of too many bytes": b"\x00\x7f" + b"\xff" * 60_000,
    "5.2 a name that is cut off": b"\x40\x05name",
    "5.2 a value that is cut off": b"\x40\x01a\x02v",
    "5.2 a value that is missing": b"\x40\x01a",
    "5.2 a value in the code that is cut off": b"\x40\x01a\x84\xff",
    "5.2 a string that claims gigabytes": b"\x00\x01a" + number(1 << 33, 7),
    "5.2 padding of zeros": b"\x00\x01a\x81\x18",
    "5.2 padding of eight bits": b"\x00\x01a\x82\x1f\xff",
    "5.2 padding alone of eight bits": b"\x00\x01a\x81\xff",
    "5.2 the end of a string in one": b"\x00\x01a\x84\xff\xff\xff\xff",
    "5.2 the same, and more after it": b"\x00\x01a\x88\x1f\xff\xff\xff\xff\x1f\x1f\x1f",
    "5.2 a name whose code is wrong": b"\x00\x81\x18\x01v",
    "6.1 the index 0": b"\x80\x01a\x01v",
    "6.2 a literal of nothing": b"\x40",
    "6.3 a table larger than we said": number(4097, 5, 0x20),
    "4.2 another size of the table after a header": b"\x82\x20",
    "4.2 the same that it has, after a header": b"\x82" + number(4096, 5, 0x20),
}


def said(written: bytes) -> bytes:
    """A request's head in as many frames as it takes."""
    pieces = [written[at : at + 16_384] for at in range(0, len(written), 16_384)]
    return HELLO + b"".join(
        raw(9 if n else 1, 4 if n == len(pieces) - 1 else 0, 1, piece) for n, piece in enumerate(pieces)
    )


@pytest.mark.parametrize("name", REFUSED)
def test_what_must_be_refused_ends_the_connection(name: str) -> None:
    started = time.process_time()
    with pytest.raises(HpackError):
        HpackDecoder().read(REFUSED[name])
    assert time.process_time() - started < 0.05
    assert Both().read(REFUSED[name]) is HpackError
    connection, opened = whole()
    connection.receive(said(REFUSED[name]))
    assert errors(fetched(connection)) == [("GOAWAY", 0, COMPRESSION)]
    assert not opened


TOO_MANY = {
    "one large field, named a thousand times": LARGE + b"\xbe" * 1000,
    "small ones": b"\x82" * 2000,
    "a string that grows by its code": b"\x00\x01a" + string(b"0" * 70_000, code=True),
    "a large name": b"\x00" + string(b"a" * MAX_BLOCK) + b"\0",
}


@pytest.mark.parametrize("name", TOO_MANY)
def test_a_list_beyond_its_bound_is_read_no_further(name: str) -> None:
    """RFC 9113 §10.5.1. What follows is not HPACK, and would be another error."""
    bomb = TOO_MANY[name] + b"\x80"
    started = time.process_time()
    with pytest.raises(HeadersTooLarge):
        HpackDecoder().read(bomb)
    assert time.process_time() - started < 0.1
    assert Both().read(bomb) is HeadersTooLarge
    connection, opened = whole()
    connection.receive(said(bomb))
    assert errors(fetched(connection)) == [("GOAWAY", 0, CALM)]
    assert not opened


SIZES = b"\x20" + number(4096, 5, 0x20)


@pytest.mark.parametrize(
    ("written", "more"),
    [
        (b"\x00\x00\x00" * 128, b"\x00\x00\x00"),
        (b"\x40\x00\x00" * 128, b"\x10\x00\x00"),
        (b"\x04\x01a" * 64 + b"\x82" * 900 + b"\x44\x01b" * 64, b"\x04\x01a"),
        (SIZES, b"\x20"),
    ],
)
def test_so_many_instructions_that_cost_much_and_no_more(written: bytes, more: bytes) -> None:
    """RFC 7541 §4.2: no encoder needs more than two changes of the size. Literals are bounded by ourselves."""
    assert isinstance(Both().read(written), list)
    with pytest.raises(TooManyInstructions):
        HpackDecoder().read(written + more)
    connection, opened = whole()
    connection.receive(said(written + more))
    assert errors(fetched(connection)) == [("GOAWAY", 0, CALM)]
    assert not opened


def test_a_block_is_work_by_its_literals_its_fields_and_its_bytes() -> None:
    decoder = HpackDecoder()
    costs = {b"\x82" * 8: 2, b"\x00\x01a\x00" * 8: 3 * 8 + 2 + 2, b"\x40\x01a" + string(b"v" * 8192): 3 + 512}
    assert [decoder.work for written in costs if decoder.read(written)] == [*costs.values()]


def test_a_list_as_large_as_its_bound_is_read() -> None:
    size = len(":method") + len("GET") + 32
    count, rest = divmod(MAX_BLOCK, size)
    exact = b"\x82" * (count - 1) + b"\x00\x01a" + string(b"v" * (size + rest - 33))
    assert sum(field.size for field in HpackDecoder().read(exact)) == MAX_BLOCK
    both = Both()
    assert isinstance(both.read(exact), list)
    assert both.read(exact + b"\x82") is HeadersTooLarge


ACCEPTED: dict[str, tuple[bytes, Pairs]] = {
    "2.3.2 the same entry twice": (b"\x40\x01a\x011" * 2 + b"\xbe\xbf", [(b"a", b"1")] * 4),
    "4.2 several sizes at a block's start": (b"\x20" + number(100, 5, 0x20) + b"\x82", [(b":method", b"GET")]),
    "4.2 a size and nothing else": (b"\x20", []),
    "4.4 a name of the entry that makes room for its own": (
        number(40, 5, 0x20) + b"\x40\x04name\x011\x7e\x012\xbe",
        [(b"name", b"1"), (b"name", b"2"), (b"name", b"2")],
    ),
    "5.1 a number of as many bytes as may be": (
        b"\x00\x01a\x7f\x80\x80\x80\x80\x00" + b"v" * 127,
        [(b"a", b"v" * 127)],
    ),
    "5.2 an empty string in the code": (b"\x00\x01a\x80", [(b"a", b"")]),
    "5.2 padding of seven bits": (b"\x00\x01a" + string(b"033", code=True), [(b"a", b"033")]),
    "6.2.3 never to be indexed, by a name that is": (b"\x1f\x09\x01v", [(b"cache-control", b"v")]),
}


@pytest.mark.parametrize("name", ACCEPTED)
def test_what_may_look_odd_and_is_right(name: str) -> None:
    written, fields = ACCEPTED[name]
    assert Both().read(written) == fields


def test_a_field_too_large_for_the_table_empties_it() -> None:
    """§4.4."""
    both = Both()
    both.read(b"\x40\x01a\x011")
    assert both.table == [(b"a", b"1")]
    assert both.read(b"\x40\x01b" + string(b"v" * 4096)) == [(b"b", b"v" * 4096)]
    assert both.table == []
    assert both.read(b"\xbe") is HpackError


def test_a_field_as_large_as_the_table_stays_in_it() -> None:
    both, value = Both(), b"v" * (4096 - 33)
    assert both.read(b"\x40\x01b" + string(value)) == [(b"b", value)]
    assert both.read(b"\xbe") == [(b"b", value)]


def test_what_came_for_no_table_is_known_by_its_name_and_how_it_was_written() -> None:
    decoder = HpackDecoder()
    (one,) = decoder.read(b"\x04\x02/a")
    assert decoder.read(b"\x04\x02/a") == [one]
    both = Both()
    code = packed(b"/a")
    for _ in range(2):
        assert both.read(b"\x04\x02/a") == [(b":path", b"/a")]
        assert both.read(b"\x04" + number(len(code), 7, 0x80) + code) == [(b":path", b"/a")]
        assert both.read(b"\x04" + string(code)) == [(b":path", code)]
        assert both.read(b"\x08\x02/a") == [(b":status", b"/a")]
    both.read(b"\x40\x01a\x011")
    assert both.read(b"\x0f\x2f\x011") == [(b"a", b"1")]
    both.read(b"\x40\x01b\x011")
    assert both.read(b"\x0f\x2f\x011") == [(b"b", b"1")]


def test_what_came_for_no_table_ever_is_not_remembered() -> None:
    """§7.1.3: nobody learns from how long it takes whether it came before."""
    decoder = HpackDecoder()
    decoder.read(b"\x10\x06secret\x011" + b"\x17\x011")
    assert not decoder._literals


def test_what_is_remembered_beside_the_table_is_bounded() -> None:
    decoder, most = HpackDecoder(), 0
    for n in range(500):
        decoder.read(block([(f"name-{n}", str(n))]).replace(b"\x10", b"\x00", 1))
        decoder.read(b"\x00" + string(b"%d" % n * 300) + b"\0" + b"\x04" + string(b"%d" % n * 300))
        most = max(most, len(decoder._literals))
    assert most == 64
    assert max(field.size for field in decoder._literals.values()) <= 256 + 32


@pytest.mark.parametrize(("size", "same"), [(255, True), (256, True), (257, False)])
def test_literals_of_at_most_256_bytes_are_remembered(size: int, same: bool) -> None:
    for name in (b"\x00\x04name", b"\x0f\x12"):  # ``date`` has four bytes too
        decoder = HpackDecoder()
        [first], [second] = (decoder.read(name + string(b"v" * (size - 4))) for _ in range(2))
        assert (first is second) == same


def test_what_is_known_after_each_block() -> None:
    decoder = HpackDecoder()
    found = [(decoder.size, decoder.changes)]
    for written in (b"", b"\x82", b"\x82\x84", b"\x40\x01a\x011", b"\xbe", b"\x20"):
        decoder.read(written)
        found.append((decoder.size, decoder.changes))
    assert found == [(0, 0), (0, 0), (42, 0), (80, 0), (34, 1), (34, 1), (0, 2)]


NAMES = st.sampled_from([b":path", b"date", b"x-b3", b"a", b"A b", b""]) | st.binary(max_size=12)
VALUES = st.sampled_from([b"", b"1", b"GET", b"/", b"v" * 300, b"w" * 3000]) | st.binary(max_size=40)
LISTS = st.lists(st.tuples(NAMES, VALUES, st.booleans()), max_size=6)


@given(st.lists(st.tuples(LISTS, st.booleans(), st.none() | st.integers(0, 4096)), max_size=12))
@settings(max_examples=200, deadline=None)
def test_whatever_the_library_packs_is_read(
    steps: Sequence[tuple[Sequence[tuple[bytes, bytes, bool]], bool, int | None]],
) -> None:
    encoder, both = Encoder(), Both()
    for fields, code, size in steps:
        if size is not None:
            encoder.header_table_size = size
        for _ in range(2):
            written = bytes(encoder.encode(list(fields), huffman=code))
            assert both.read(written) == [(name, value) for name, value, _ in fields]


NUMBERS = st.integers(0, 70) | st.sampled_from([126, 127, 128, 4096, 4097, 1 << 20, 1 << 34])
ZEROS = st.sampled_from([0, 0, 0, 1, 4, 6])
STRINGS = st.builds(lambda value, code: string(value, code=code), VALUES, st.booleans()) | st.builds(
    lambda data: number(len(data), 7, 0x80) + data, st.binary(max_size=8) | st.binary(max_size=4).map(packed)
)
INDEXED = st.builds(lambda value, zeros: number(value, 7, 0x80, zeros), NUMBERS, ZEROS)
LITERAL = st.builds(
    lambda form, index, name, value: number(index, *form) + (b"" if index else name) + value,
    st.sampled_from([(6, 0x40), (4, 0x00), (4, 0x10)]),
    st.just(0) | NUMBERS,
    STRINGS,
    STRINGS,
)
SIZE = st.builds(lambda value, zeros: number(value, 5, 0x20, zeros), NUMBERS, ZEROS)
BLOCKS = st.lists(st.lists(INDEXED | LITERAL | LITERAL | SIZE | st.binary(max_size=6), max_size=6).map(b"".join))


@given(BLOCKS)
@settings(max_examples=400, deadline=None)
def test_both_read_or_refuse_arbitrary_blocks_alike(blocks: Sequence[bytes]) -> None:
    both = Both()
    for written in blocks:
        if not isinstance(both.read(written), list):
            break


@given(st.lists(st.sampled_from(range(1, 62)) | st.integers(62, 80), min_size=1, max_size=8), st.integers(0, 300))
def test_eviction_by_entries_that_are_in_use(indexes: Sequence[int], size: int) -> None:
    both = Both()
    both.read(number(size, 5, 0x20))
    for index in indexes:
        if not isinstance(both.read(number(index, 6, 0x40) + b"\x02vv" + number(index, 7, 0x80)), list):
            break


@given(st.binary(max_size=12))
@settings(max_examples=400)
def test_huffmans_code_is_read_or_refused_alike(data: bytes) -> None:
    for tail in (b"", b"\xff", b"\xff\xff\xff"):
        Both().read(b"\x00\x01a" + number(len(data + tail), 7, 0x80) + data + tail)


def test_every_string_of_two_bytes() -> None:
    both = Both()
    for value in range(1 << 16):
        written = b"\x10\x01a\x82" + value.to_bytes(2)
        if not isinstance(both.read(written), list):
            both = Both()

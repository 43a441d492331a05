"""Header blocks: what is read is what was packed, whatever the table of headers and the memory of blocks do."""

from __future__ import annotations

import time
from collections.abc import Sequence

import pytest
from hpack import Encoder
from hypothesis import given, settings
from hypothesis import strategies as st

from extproc.grpc_server.metadata import custom_metadata
from extproc.http2.header_fields import Field
from extproc.http2.hpack import HeadersTooLarge, HpackDecoder, HpackError, TooManyInstructions
from extproc.http2.limits import MAX_BLOCK
from extproc.http2.memory_budget import MemoryBudget
from extproc.http2.request_headers import HeaderBlockReader, RequestHead
from tests.http2.wire import PATH, REQUEST, block

PSEUDO = [(b":method", b"POST"), (b":scheme", b"http"), (b":path", b"/a.B/C")]
NAMES = st.sampled_from([b"a", b"b", b"x-request-id", b"user-agent", b"cookie"])
VALUES = st.sampled_from([b"", b"1", b"another", b"v" * 300, b"\xff\x80"]) | st.binary(max_size=20)
LISTS = st.lists(st.tuples(NAMES, VALUES, st.booleans()), max_size=5)
"""Name, value, and whether it may never be put into a table."""
STEPS = st.lists(
    st.tuples(st.integers(0, 3), st.none() | st.integers(0, 4096), st.booleans(), st.integers(1, 3)),
    min_size=1,
    max_size=25,
)
"""Which list, a new size of the table if any, Huffman's code or not, and how often."""


@given(st.lists(LISTS, min_size=4, max_size=4), STEPS)
@settings(max_examples=80, deadline=None)
def test_what_is_read_is_what_was_packed(
    lists: list[list[tuple[bytes, bytes, bool]]], steps: Sequence[tuple[int, int | None, bool, int]]
) -> None:
    encoder, heads = Encoder(), HeaderBlockReader()
    for which, size, huffman, times in steps:
        if size is not None:
            encoder.header_table_size = size
        for _ in range(times):
            fields = [*((name, value, False) for name, value in PSEUDO), *lists[which]]
            head = heads.read(bytes(encoder.encode(fields, huffman=huffman)))
            assert pairs(head) == [(name, value) for name, value, _ in fields]
            assert (head.method, head.path) == (b"POST", b"/a.B/C")


class Counting(HpackDecoder):
    """One that says how often it is asked."""

    asked = 0

    def read(self, block: bytes) -> list[Field]:
        self.asked += 1
        return super().read(block)


def counted() -> tuple[HeaderBlockReader, Counting]:
    heads = HeaderBlockReader()
    heads._decoder = decoder = Counting()
    return heads, decoder


def pairs(head: RequestHead) -> list[tuple[bytes, bytes]]:
    return [(field.name, field.value) for field in head.fields]


def test_equal_blocks_are_unpacked_twice_at_most() -> None:
    heads, decoder = counted()
    encoder = Encoder()
    for _ in range(1000):
        heads.read(bytes(encoder.encode(REQUEST)))
    assert decoder.asked == 2  # the first changes the table; the second is what all others look like


def test_a_change_of_the_table_forgets_what_was_remembered() -> None:
    heads, _ = counted()
    encoder = Encoder()
    encoder.encode([("a", "1")])
    indexed = bytes([0x80 | 62])
    heads.read(b"\x40\x01a\x011")
    assert pairs(heads.read(indexed)) == pairs(heads.read(indexed)) == [(b"a", b"1")]
    heads.read(b"\x40\x01b\x012")
    assert pairs(heads.read(indexed)) == [(b"b", b"2")]
    heads.read(b"\x20")  # the table is emptied, and filled again by what has the same size
    heads.read(b"\x3f\xe1\x1f\x40\x01c\x013")
    heads.read(b"\x40\x01d\x014")
    assert pairs(heads.read(indexed)) == [(b"d", b"4")]


def test_a_block_that_changes_the_table_changes_it_each_time() -> None:
    heads, named = HeaderBlockReader(), b"\xbe\xbf"
    for n in range(3):
        heads.read(b"\x40\x01a\x01" + b"%d" % n)
        heads.read(b"\x40\x01x\x01y")
        heads.read(b"\x40\x01x\x01y")
        assert pairs(heads.read(named)) == [(b"x", b"y")] * 2
    heads.read(b"\x20")
    with pytest.raises(HpackError):
        heads.read(named)


def test_a_client_that_traces() -> None:
    """Each block is another, and leaves its own field in the table, past the point where the oldest are dropped."""
    encoder, heads = Encoder(), HeaderBlockReader()
    for n in range(200):
        trace = ("traceparent", f"00-{n:032x}-{n * n:016x}-01")
        head = heads.read(bytes(encoder.encode([*REQUEST, trace, ("x-envoy-internal", "true")])))
        assert custom_metadata(head.fields) == (trace, ("x-envoy-internal", "true"))
        assert not head.malformed
    assert len(heads._cache) <= 1


def test_what_is_remembered_is_bounded() -> None:
    heads, _ = counted()
    most = 0
    for n in range(500):
        heads.read(block([*REQUEST, ("x", str(n))]))
        most = max(most, len(heads._cache))
    assert 1 < most <= 64
    for n in range(30):
        heads.read(block([*REQUEST, ("x", str(n) * 4000)]))
    assert sum(map(len, heads._cache)) <= 64 * 4096


@pytest.mark.parametrize(
    "bomb",
    [
        b"\x40\x01a\x7f\xf1\x1e" + b"v" * 4080 + bytes([0xBE]) * 60_000,  # one large header, named again and again
        block([("a", "v" * MAX_BLOCK)]),
    ],
)
def test_bombs(bomb: bytes) -> None:
    started = time.process_time()
    with pytest.raises((HeadersTooLarge, HpackError, TooManyInstructions)):
        HeaderBlockReader().read(bomb)
    assert time.process_time() - started < 0.5


def test_a_number_without_an_end_costs_no_time() -> None:
    """hpack before 4.2 worked itself to death on it."""
    started = time.process_time()
    with pytest.raises(HpackError):
        HeaderBlockReader().read(b"\x00\x7f" + b"\xff" * 65_000)
    assert time.process_time() - started < 0.05


@given(
    st.binary(max_size=200)
    | st.lists(
        st.sampled_from([b"\x00", b"\x40", b"\x7f\xff", b"\x20", b"\xbe", b"\x82", b"\x3f\xe1\x1f", b"\x01a"]),
        max_size=30,
    ).map(b"".join)
)
@settings(max_examples=150, deadline=None)
def test_arbitrary_blocks_are_read_or_refused(packed: bytes) -> None:
    heads = HeaderBlockReader()
    for _ in range(2):
        try:
            first, second = heads.read(packed), heads.read(packed)
        except (HeadersTooLarge, HpackError, TooManyInstructions):
            return
        assert isinstance(custom_metadata(first.fields), tuple)
        assert first.malformed or first.path
        assert isinstance(second, RequestHead)


CONNECTION = [("connection", "close"), ("keep-alive", "1"), ("transfer-encoding", "chunked"), ("upgrade", "h2c")]


@pytest.mark.parametrize(
    "fields",
    [
        REQUEST[1:],
        [*REQUEST[:2], *REQUEST[3:]],
        [*REQUEST, (":path", "/after")],
        [("a", "b"), *REQUEST],
        [*REQUEST[:1], (":method", "GET"), *REQUEST[1:]],
        [(":status", "200"), *REQUEST],
        [(":protocol", "websocket"), *REQUEST],
        [REQUEST[0], REQUEST[1], (":path", ""), *REQUEST[3:]],
        [*REQUEST, ("te", "gzip")],
        [*REQUEST, ("Upper", "1")],
        [*REQUEST, ("", "1")],
        [*REQUEST, ("a b", "1")],
        [*REQUEST, ("nul\0", "1")],
        [*REQUEST, ("content-length", "-1")],
        [*REQUEST, ("content-length", "1"), ("content-length", "2")],
        [*REQUEST, ("content-length", "9" * 30)],
        [*REQUEST, ("a", "line\r\nbreak")],
        [*REQUEST, ("a", "nul\0")],
        *([*REQUEST, field] for field in CONNECTION),
    ],
)
def test_what_makes_a_request_malformed(fields: list[tuple[str, str]]) -> None:
    assert HeaderBlockReader().read(block(fields)).malformed


TABLED = {
    "a value that may not be": [("a", "nul\0")],
    "a name that is none": [("a b", "1")],
    "a connection's": [("upgrade", "h2c")],
    "a pseudo-header after others": [(":authority", "late")],
    "one twice": [(":path", "/twice"), (":path", "/twice")],
    "a length twice": [("content-length", "1"), ("content-length", "1")],
}


@pytest.mark.parametrize("name", TABLED)
def test_what_is_wrong_stays_wrong_in_the_table(name: str) -> None:
    """What is looked at once, when it comes, counts whenever it is named, and for no other request."""
    wrong, sound = TABLED[name], [*REQUEST[3:], ("x", "1")]
    before = [] if "twice" in name else sound
    encoder, heads = Encoder(), HeaderBlockReader()
    for n in range(3):
        assert heads.read(bytes(encoder.encode([*REQUEST[:3], *before, *wrong, ("n", str(n))]))).malformed
        assert not heads.read(bytes(encoder.encode([*REQUEST[:3], *sound, ("n", str(n))]))).malformed


def test_a_requests_head() -> None:
    head = HeaderBlockReader().read(block([*REQUEST, ("content-length", "12")]))
    assert (head.method, head.path, head.content_type) == (b"POST", PATH.encode(), b"application/grpc")
    assert (head.malformed, head.may_be_trailers, head.content_length) == (False, False, 12)


def test_trailers() -> None:
    head = HeaderBlockReader().read(block([("a", "b")]))
    assert (head.malformed, head.may_be_trailers, head.content_length) == (True, True, None)
    assert (head.method, head.path, head.content_type) == (b"", b"", b"")
    for wrong in ([("a", "b"), ("upgrade", "x")], [(":path", "/"), ("a", "b")], [(":authority", "a")]):
        assert not HeaderBlockReader().read(block(wrong)).may_be_trailers
    assert HeaderBlockReader().read(b"").may_be_trailers


def test_the_length_of_a_malformed_request_is_not_read() -> None:
    head = HeaderBlockReader().read(block([*REQUEST, ("content-length", "x")]))
    assert (head.malformed, head.content_length) == (True, None)


def cached(size: int, budget: MemoryBudget | None = None) -> tuple[HeaderBlockReader, RequestHead, bytes]:
    """A reader that has read a block of so many bytes."""
    reader = HeaderBlockReader(budget)
    prefix = b"\x82\x86\x84\x10\x01x"
    rest = size - len(prefix)
    value = b"v" * (rest - 3)
    written = prefix + b"\x7f" + bytes(((len(value) - 127) & 127 | 128, (len(value) - 127) >> 7)) + value
    assert len(written) == size
    return reader, reader.read(written), written


@pytest.mark.parametrize(("size", "again"), [(4_096, True), (4_097, False)])
def test_blocks_up_to_4_kib_are_cached(size: int, again: bool) -> None:
    reader, head, written = cached(size)
    assert (reader.read(written) is head) == again


def test_cached_bytes_are_counted_and_let_go() -> None:
    budget = MemoryBudget()
    reader, _, written = cached(1_000, budget)
    fields = 42 + 43 + 38 + 33 + (len(written) - 9)  # :method GET, :scheme http, :path /, x
    assert reader._cached_bytes == budget.cached_headers == 512 + 1_000 + 6 * fields
    reader.read(written)
    assert budget.cached_headers == 512 + 1_000 + 6 * fields
    reader.clear()
    assert reader._cached_bytes == budget.cached_headers == 0
    reader.read(written)
    assert budget.cached_headers == 512 + 1_000 + 6 * fields
    reader.read(b"\x40\x01a\x011")
    assert (budget.cached_headers, len(reader._cache)) == (0, 0)


def test_64_blocks_are_cached() -> None:
    reader = HeaderBlockReader()
    first = block([("x", "0")])
    head = reader.read(first)
    for n in range(1, 64):
        reader.read(block([("x", str(n))]))
    assert reader.read(first) is head
    reader.read(block([("x", "64")]))
    assert reader.read(first) is not head
    assert len(reader._cache) == 2


def test_128_kib_are_cached_of_a_connection() -> None:
    reader, counts = HeaderBlockReader(), []
    for n in range(10):
        reader.read(block([("x", f"{n}" * 3_000)]))  # some 22 kB each
        counts.append(len(reader._cache))
        assert reader._cached_bytes <= 1 << 17
    assert counts == [1, 2, 3, 4, 5, 6, 1, 2, 3, 4]
    reader.read(b"\x82" * 600)  # 152 kB
    assert reader._cached_bytes == 0
    assert not reader._cache
    reader.read(b"\x82" * 500)  # 127 kB
    assert len(reader._cache) == 1


def test_a_process_has_a_bound_for_all(monkeypatch: pytest.MonkeyPatch) -> None:
    reader, _, written = cached(1_000)
    size = reader._cached_bytes
    monkeypatch.setattr("extproc.http2.request_headers.CACHED_HEADER_BYTES", 2 * size)
    budget = MemoryBudget()
    for count in (1, 1, 0):
        other = HeaderBlockReader(budget)
        other.read(written)
        assert len(other._cache) == count
    assert budget.cached_headers == 2 * size

"""The body of one request: bounds, pieces, codings, what a reader gets to see, and the memory it takes."""

from __future__ import annotations

import gzip
import json
import time
import tracemalloc
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from extproc import apis
from extproc.bodies.grpc_message import GrpcReader
from extproc.bodies.json_reader import JsonReader
from extproc.bodies.request import BodyFields, Reader, RequestFields
from extproc.errors import Rejected, Unreadable
from extproc.exchange.request_body import Body, bytes_needed, rest
from extproc.grpc_server import MAX_MESSAGE
from extproc.headers import Headers
from extproc.policy.picking import Picking
from extproc.policy.snapshot import Policy, Snapshot, Sticky
from tests.unit.apis.requests import all_fields

JSON = JsonReader(prompt=["/messages"])
GRPC = GrpcReader(model="1")
TEXT = b'{"messages":[],"model":"m"}'
FRAME = b"\0\0\0\0\3\x0a\1m"


def body(*pieces: bytes, limit: int = 1000, headers: Sequence[tuple[str, str | bytes]] = ()) -> Body:
    found = Body(Headers.of(headers), limit)
    for piece in pieces:
        found.add(piece)
    return found


def packed(data: bytes = TEXT, *codings: str, limit: int = 1000) -> Body:
    return body(data, limit=limit, headers=[("content-encoding", coding) for coding in codings])


def grpc(*pieces: bytes, limit: int = 1000, **headers: str) -> Body:
    pairs = [("content-type", "application/grpc"), *((k.replace("_", "-"), v) for k, v in headers.items())]
    return body(*pieces, limit=limit, headers=pairs)


@pytest.mark.parametrize(
    ("path", "needed"),
    [
        ("/v1/chat/completions", 9),  # it names the model there
        *((f"/v1beta/models/{model}:generateContent", 7 if model in "ad" else 0) for model in "abcdex"),
        *((f"/v1beta/models/{model}:countTokens", 7 if model == "a" else 0) for model in "abcdex"),
    ],
)
def test_what_is_needed_of_a_body(path: str, needed: int) -> None:
    policies = (
        Policy("keyed", models=("a",), sticky=Sticky(body=("user",)), body_limit=7),
        Policy("by header", models=("b",), sticky=Sticky(header="x"), body_limit=8),
        Policy("plain", models=("c",), body_limit=9),
        Policy("by prompt", models=("d",), picking=Picking("prefix"), body_limit=7),
        Policy("by load", models=("e",), picking=Picking("least-loaded"), body_limit=7),
    )
    operation = apis.classify("POST", path, Headers())
    assert operation is not None
    assert bytes_needed(operation, Snapshot(policies)) == needed


@given(st.lists(st.binary(max_size=3000), max_size=12))
def test_pieces_add_up(pieces: list[bytes]) -> None:
    found = body(*pieces, limit=1 << 20)
    assert found.raw == found.text == b"".join(pieces)
    assert found.sizes == [len(piece) for piece in pieces]
    found.add(b"more")
    assert found.raw == b"".join(pieces) + b"more"


@pytest.mark.parametrize("count", [0, 1, 2, 3])
def test_large_pieces_add_up_too(count: int) -> None:
    pieces = [bytes([n]) * 3000 for n in range(count)]
    found = body(*pieces, limit=1 << 20)
    assert found.raw == b"".join(pieces)
    assert found.raw is found.raw, "they are joined once"


def test_the_limit_is_to_the_byte() -> None:
    found = body(b"x" * 999, b"y")
    with pytest.raises(Rejected) as caught:
        found.add(b"z")
    assert (caught.value.status, caught.value.code) == (413, "request_too_large")


@pytest.mark.parametrize("length", ["2001", "5".zfill(19), "9" * 400])
def test_a_length_far_beyond_the_limit_is_refused_at_once(length: str) -> None:
    with pytest.raises(Rejected, match="1000"):
        body(headers=[("content-length", length)])


@pytest.mark.parametrize("length", ["1001", "2000"])
def test_a_length_somewhat_beyond_the_limit_is_refused_once_it_has_come(length: str) -> None:
    """Clients that write all before they read would see a reset, and not why."""
    found = body(b"a" * 1000, headers=[("content-length", length)])
    with pytest.raises(Rejected, match="1000"):
        found.add(b"a")


@given(st.integers(1, 1 << 30))
def test_what_is_taken_beyond_a_limit_is_bounded_and_fits_into_a_message(limit: int) -> None:
    assert 0 <= rest(limit) <= min(limit, 8 << 20)
    assert limit + rest(limit) <= max(limit, MAX_MESSAGE - (1 << 20))


MIB = 1 << 20


@pytest.mark.parametrize(
    ("limit", "beyond"),
    [(1000, 1000), (8 * MIB, 8 * MIB), (9 * MIB, 8 * MIB), (60 * MIB, 3 * MIB), (63 * MIB, 0), (100 * MIB, 0)],
)
def test_as_much_again_is_taken_up_to_8_mib_and_63_in_all(limit: int, beyond: int) -> None:
    assert rest(limit) == beyond


@pytest.mark.parametrize("length", ["1000", "-1", "1e9", "", "²", "0x9999"])
def test_other_lengths_are_not(length: str) -> None:
    assert not body(b"{}", headers=[("content-length", length)]).full


def test_full_when_as_much_has_come_as_was_announced() -> None:
    assert not body(b"1234", headers=[("content-length", "5")]).full
    assert body(b"1234", b"5", headers=[("content-length", "5")]).full
    assert body(b"1234", b"5", headers=[("content-length", "5".zfill(18))]).full
    assert not body().full


def test_small_pieces_are_joined_as_they_come() -> None:
    assert len(body(b"x" * 1024, b"y" * 1024, limit=MIB)._chunks) == 1
    assert len(body(b"x" * 1024, b"y" * 1025, limit=MIB)._chunks) == 2


def test_a_reader_sees_the_whole_body() -> None:
    told = body(TEXT[:5], TEXT[5:]).read(JSON, complete=True)
    assert told is not None
    assert all_fields(told) == BodyFields("m", prompt_bytes=2)
    assert body(b"anything").read(None, complete=True) == BodyFields()


def test_codings_are_undone() -> None:
    twice = gzip.compress(gzip.compress(TEXT))
    for found in (packed(gzip.compress(TEXT), "gzip"), packed(twice, "gzip, gzip"), packed(twice, "gzip", "gzip")):
        told = found.read(JSON, complete=True)
        assert told is not None
        assert all_fields(told) == BodyFields("m", prompt_bytes=2)
        assert found.text == TEXT
        assert found.raw != TEXT


def test_what_unpacks_to_too_much() -> None:
    with pytest.raises(Rejected) as caught:
        packed(gzip.compress(bytes(1001)), "gzip").read(JSON, complete=True)
    assert caught.value.status == 413


@pytest.mark.parametrize("coding", ["gzip", "compress", "gzip, gzip, gzip"])
def test_what_does_not_unpack(coding: str) -> None:
    with pytest.raises(Unreadable, match="content_encoding"):
        packed(TEXT, coding).read(JSON, complete=True)


def test_an_early_reader_gets_on_as_soon_as_it_can() -> None:
    found = grpc()
    for at in range(len(FRAME) - 1):
        found.add(FRAME[at : at + 1])
        assert found.read(GRPC, complete=False) is None
    found.add(FRAME[-1:])
    assert found.read(GRPC, complete=False) == BodyFields("m")
    assert grpc(FRAME + b"the next").read(GRPC, complete=False) == BodyFields("m")


class Counting(GrpcReader):
    """How often was it asked?"""

    asked = 0

    def read(self, body: bytes, headers: Headers) -> RequestFields | int:
        self.asked += 1
        return super().read(body, headers)


def test_it_is_asked_only_when_there_is_what_it_needs() -> None:
    reader = Counting(model="1")
    message = b"\x0a\1m\x12\x80\x80\1" + bytes(16384)
    found = grpc(limit=1 << 20)
    whole = b"\0" + len(message).to_bytes(4) + message
    for at in range(0, len(whole), 10):
        found.add(whole[at : at + 10])
        fields = found.read(reader, complete=False)
    assert fields == BodyFields("m")
    assert reader.asked == 2


@pytest.mark.parametrize(("data", "reason"), [(b"", "no_body"), (FRAME[:3], "truncated"), (FRAME[:-1], "truncated")])
def test_an_end_before_its_time(data: bytes, reason: str) -> None:
    with pytest.raises(Unreadable, match=reason):
        grpc(data).read(GRPC, complete=True)


def test_a_frame_beyond_the_limit_is_not_waited_for() -> None:
    with pytest.raises(Rejected, match="1000"):
        grpc(b"\0\0\0\x10\0").read(GRPC, complete=False)
    assert grpc(FRAME[:5], limit=len(FRAME)).read(GRPC, complete=False) is None


def test_what_a_message_unpacks_to_has_its_bound_too() -> None:
    data = gzip.compress(bytes(40 << 20), 1)
    found = grpc(b"\1" + len(data).to_bytes(4) + data, limit=1 << 20, grpc_encoding="gzip")
    with pytest.raises(Rejected, match="unpacks to more than the 1048576 bytes allowed"):
        found.read(GRPC, complete=False)


def test_servers_of_grpc_know_no_content_coding() -> None:
    assert grpc(FRAME, content_encoding="gzip").read(GRPC, complete=True) == BodyFields("m")


def test_a_change_of_a_plain_body() -> None:
    found = body(TEXT)
    found.read(JSON, complete=True)
    change = found.rename(JSON, "longer")
    assert change is not None
    assert not change.unpacked
    assert change.splice.apply(TEXT) == TEXT.replace(b'"m"', b'"longer"')
    assert change.length == len(TEXT) + 5


def test_a_change_of_a_packed_body_is_the_whole_of_it_unpacked() -> None:
    data = gzip.compress(TEXT)
    found = packed(data, "gzip")
    found.read(JSON, complete=True)
    change = found.rename(JSON, "longer")
    assert change is not None
    assert change.unpacked
    assert change.splice.apply(data) == TEXT.replace(b'"m"', b'"longer"')
    assert change.length == len(change.splice.apply(data))


def test_no_change_where_nothing_is_named() -> None:
    found = body(b"{}")
    found.read(JsonReader(model=""), complete=True)
    assert found.rename(JsonReader(model=""), "m") is None


LARGE = json.dumps(
    {"messages": [{"role": "user", "content": "x" * 5 * MIB}, {"role": "user", "content": "y"}], "model": "m"}
).encode()


@pytest.mark.parametrize("reader", [JSON, None], ids=["read", "only kept"])
@pytest.mark.parametrize("size", [1000, 16_384, 1 << 20])
def test_a_large_body_takes_no_more_memory_than_its_size(size: int, reader: Reader | None) -> None:
    """Beside the pieces that were handed in: they are the caller's."""
    pieces = [LARGE[at : at + size] for at in range(0, len(LARGE), size)]
    tracemalloc.start()
    try:
        found = body(*pieces, limit=8 * MIB)
        fields = found.read(reader, complete=True)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert fields is not None
    together = len(LARGE) if size < 2048 else 0  # small pieces are put together, so there they are twice
    assert peak <= len(LARGE) + together + 600_000


def by_twos(size: int) -> Body:
    data, found = bytes(size), body(limit=8 * MIB)
    for at in range(0, size, 2):
        found.add(data[at : at + 2])
    assert found.raw == data
    return found


def test_a_body_byte_by_byte_takes_no_time() -> None:
    started = time.process_time()
    by_twos(1 * MIB)
    assert time.process_time() - started < 10  # a fraction of a second; copied with each piece, minutes


def test_a_body_byte_by_byte_takes_no_memory() -> None:
    """Of less: every piece takes longer while memory is traced. One kept for each would take twenty times its bytes."""
    tracemalloc.start()
    try:
        by_twos(MIB // 4)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 2 * MIB

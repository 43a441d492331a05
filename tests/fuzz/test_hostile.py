"""Bodies as nobody should send them, through the stream that serves: each has one outcome, however it comes in pieces.

An outcome is the ``x-model-name`` that is set, the reason why the request passes on unrouted, or the error's code.
"""

from __future__ import annotations

import base64
import gzip
import json
import tracemalloc
import zlib
from collections.abc import Callable
from functools import cache
from itertools import pairwise
from random import Random
from typing import Any, NamedTuple

import brotli
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from extproc import apis
from extproc.apis.row import ANY_PATH
from extproc.envoy.actions import BodyReply, Finish, HeadersReply, Mutation, Reject
from extproc.envoy.events import (
    BodyMode,
    Closed,
    Event,
    Protocol,
    RequestBody,
    RequestHeaders,
    RequestTrailers,
)
from extproc.exchange.notes import Action, Unmatched
from extproc.exchange.route import RouteStream, State
from extproc.headers import Headers
from extproc.policy.snapshot import Policy, Snapshot, Version

MIB = 1 << 20
LIMIT = 24 * MIB
SNAPSHOT = Snapshot((Policy("all", versions=(Version("v1"),), body_limit=LIMIT),))
STREAMED = Protocol(BodyMode.STREAMED, send_body_without_waiting=True)
BUFFERED = Protocol(BodyMode.BUFFERED)
ASKED_FOR = Protocol(BodyMode.NONE)
DUPLEX = Protocol(BodyMode.FULL_DUPLEX_STREAMED)

JSON = (("content-type", "application/json"),)
FORM = (("content-type", "multipart/form-data; boundary=B"),)
GRPC = (("content-type", "application/grpc"),)
CHAT = "/v1/chat/completions"
SPEECH = "/v1/audio/transcriptions"
INFER = "/inference.GRPCInferenceService/ModelInfer"


class Request(NamedTuple):
    path: str
    headers: tuple[tuple[str, str], ...]
    body: bytes

    def head(self, protocol: Protocol) -> RequestHeaders:
        pairs = [(":method", "POST"), (":path", self.path), *self.headers]
        return RequestHeaders(Headers.of(pairs), end_of_stream=False, protocol=protocol)


def play(*events: Event, snapshot: Snapshot = SNAPSHOT) -> list[Action]:
    stream = RouteStream(snapshot, b"entropy")
    return [action for event in events for action in stream.receive(event)]


def outcome(actions: list[Action]) -> str:
    """What came of a request, which is answered once and then left alone."""
    assert actions.count(Finish()) == 1
    for action in actions:
        match action:
            case Unmatched(reason):
                return reason
            case Reject(code=code):
                return code
            case HeadersReply(Mutation(set=changes)) | BodyReply(Mutation(set=changes)) if changes:
                return dict(changes)["x-model-name"]
    raise AssertionError(actions)


def whole(request: Request, protocol: Protocol = BUFFERED) -> str:
    return outcome(play(request.head(protocol), RequestBody(request.body, end_of_stream=True)))


def in_pieces(request: Request, protocol: Protocol, cuts: list[int], trailers: bool = False) -> str:
    at = [0, *sorted(cut % (len(request.body) + 1) for cut in cuts), len(request.body)]
    events: list[Event] = [RequestBody(request.body[a:b]) for a, b in pairwise(at)]
    last = RequestTrailers() if trailers else RequestBody(b"", end_of_stream=True)
    return outcome(play(request.head(protocol), *events, last))


def chat(body: bytes | dict[str, Any], *headers: tuple[str, str]) -> Request:
    return Request(CHAT, JSON + headers, body if isinstance(body, bytes) else json.dumps(body).encode())


def field(value: str | bytes, name: str = "model") -> bytes:
    text = value if isinstance(value, bytes) else value.encode()
    return f'--B\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n'.encode() + text + b"\r\n"


def form(*parts: bytes) -> Request:
    return Request(SPEECH, FORM, b"".join(parts) + b"--B--\r\n")


def grpc(message: bytes, flag: int = 0, *headers: tuple[str, str]) -> Request:
    return Request(INFER, GRPC + headers, bytes([flag]) + len(message).to_bytes(4) + message)


def bare(data: bytes) -> bytes:
    packer = zlib.compressobj(wbits=-15)
    return packer.compress(data) + packer.flush()


PLAIN = b'{"messages":[],"model":"m"}'
IMAGE = base64.b64encode(Random(1).randbytes(3 * MIB)).decode()
WITH_IMAGE = {
    "messages": [{"content": [{"type": "image_url", "image_url": {"url": "data:image/png;base64," + IMAGE}}]}],
    "model": "m",
}
FILE = b'--B\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n' + bytes(20 * MIB) + b"\r\n"
DEEP = b"[" * 10_000 + b"]" * 10_000

CASES: dict[str, tuple[Request, str]] = {
    # Size, place, shape.
    "images of megabytes, the model last": (chat(WITH_IMAGE), "m"),
    "images of megabytes, the model first": (chat({"model": "m", **WITH_IMAGE}), "m"),
    "larger than the limit": (chat(PLAIN[:-1] + b" " * LIMIT + b"}"), "request_too_large"),
    "empty": (chat(b""), "no_body"),
    "white space only": (chat(b" \r\n"), "bad_json"),
    "cut short": (chat(PLAIN[:-1]), "bad_json"),
    "cut short within the model": (chat(PLAIN[:-3]), "bad_json"),
    "two documents": (chat(PLAIN + PLAIN), "bad_json"),
    "no object": (chat(b'["model"]'), "bad_json"),
    "nested 10,000 deep": (chat(b'{"x":' + DEEP + b',"model":"m"}'), "bad_json"),
    "nested 10,000 deep, objects": (chat(b'{"x":' * 10_000 + b"1" + b"}" * 10_000), "bad_json"),
    "nested 900 deep": (chat(b'{"x":' + b"[" * 900 + b"]" * 900 + b',"model":"m"}'), "m"),
    # Codings and charsets.
    "gzip": (chat(gzip.compress(PLAIN), ("content-encoding", "gzip")), "m"),
    "deflate": (chat(zlib.compress(PLAIN), ("content-encoding", "deflate")), "m"),
    "deflate without its wrapping": (chat(bare(PLAIN), ("content-encoding", "deflate")), "m"),
    "zstd": (chat(zstandard.compress(PLAIN), ("content-encoding", "zstd")), "m"),
    "br": (chat(brotli.compress(PLAIN), ("content-encoding", "br")), "m"),
    "two codings": (chat(brotli.compress(gzip.compress(PLAIN)), ("content-encoding", "gzip, br")), "m"),
    "a coding that was not applied": (chat(PLAIN, ("content-encoding", "gzip")), "content_encoding"),
    "a coding that is not named": (chat(gzip.compress(PLAIN)), "bad_json"),
    "a coding that nobody knows": (chat(PLAIN, ("content-encoding", "rot13")), "content_encoding"),
    "packed and cut short": (chat(gzip.compress(PLAIN)[:-1], ("content-encoding", "gzip")), "content_encoding"),
    "two models, packed": (
        chat(gzip.compress(b'{"model":"a","model":"b"}'), ("content-encoding", "gzip")),
        "duplicate_model",
    ),
    "a byte order mark": (chat(b"\xef\xbb\xbf" + PLAIN), "m"),
    "UTF-16": (chat(PLAIN.decode().encode("utf-16")), "m"),
    "UTF-16 without a mark": (chat(PLAIN.decode().encode("utf-16-le")), "m"),
    "UTF-32": (chat(PLAIN.decode().encode("utf-32")), "m"),
    "Latin-1": (chat('{"model":"é"}'.encode("latin-1")), "bad_model"),
    "Latin-1 elsewhere": (chat('{"é":1,"mod\\u0065l":"m"}'.encode("latin-1")), "m"),
    "a charset that is named, and not UTF-8": (
        Request(CHAT, (("content-type", "application/json; charset=iso-8859-1"),), PLAIN),
        "m",
    ),
    # The key.
    "two models": (chat(b'{"model":"a","model":"b"}'), "duplicate_model"),
    "two equal models": (chat(b'{"model":"a","model":"a"}'), "duplicate_model"),
    "two models, megabytes between them": (
        chat(b'{"model":"a","x":"' + bytes(b"y" * 5 * MIB) + b'","model":"b"}'),
        "duplicate_model",
    ),
    "two models, one escaped": (chat(b'{"model":"a","mod\\u0065l":"b"}'), "duplicate_model"),
    "an escaped key": (chat(b'{"mod\\u0065l":"m"}'), "m"),
    "a model deeper down": (chat(b'{"x":{"model":"deep"},"model":"m"}'), "m"),
    "a key in capitals": (chat(b'{"Model":"m"}'), "ambiguous_model"),
    "no model": (chat(b'{"messages":[]}'), "no_model"),
    # Its value.
    "null": (chat({"model": None}), "bad_model"),
    "a number": (chat({"model": 7}), "bad_model"),
    "a number of megabytes": (chat(b'{"model":' + b"7" * MIB + b"}"), "bad_model"),
    "an object": (chat({"model": {"name": "m"}}), "bad_model"),
    "an empty string": (chat({"model": ""}), "bad_model"),
    "10 KB": (chat({"model": "m" * 10_240}), "bad_model"),
    "control characters": (chat({"model": "a\r\nx-evil: 1\0"}), "a%0D%0Ax-evil:%201%00"),
    "not ASCII": (chat({"model": "größe-模型"}), "gr%C3%B6%C3%9Fe-%E6%A8%A1%E5%9E%8B"),
    "a lone surrogate": (chat(b'{"model":"\\ud800"}'), "ambiguous_model"),
    "white space in it": (chat({"model": " m "}), "%20m%20"),
    # Forms.
    "the field after a large file": (form(FILE, field("m")), "m"),
    "the field before a large file": (form(field("m"), FILE), "m"),
    "no field": (form(FILE), "no_model"),
    "two fields": (form(field("a"), field("b")), "duplicate_model"),
    "a field in a file": (form(field(b"x\r\n" + field("inner")[:-2], "file"), field("m")), "duplicate_model"),
    "a form cut short": (Request(SPEECH, FORM, field("m")), "bad_multipart"),
    "an empty form": (Request(SPEECH, FORM, b""), "no_body"),
    "line ends of Unix": (Request(SPEECH, FORM, form(field("m")).body.replace(b"\r\n", b"\n")), "bad_multipart"),
    "JSON where a form belongs": (Request(SPEECH, JSON, PLAIN), "content_type"),
    "a form where JSON belongs": (Request(CHAT, FORM, form(field("m")).body), "bad_json"),
    "a field of 10 KB": (form(field("m" * 10_240)), "bad_model"),
    "a field with control characters": (form(field("a\r\nb")), "a%0D%0Ab"),
    # gRPC.
    "a message": (grpc(b"\x0a\1m"), "m"),
    "the model last in a message of megabytes": (grpc(b"\x3a\x80\x80\x80\x02" + bytes(4 * MIB) + b"\x0a\1m"), "m"),
    "the last of two models": (grpc(b"\x0a\1a\x0a\1m"), "m"),
    "a message cut short": (Request(INFER, GRPC, grpc(b"\x0a\1m").body[:-1]), "truncated"),
    "no message": (Request(INFER, GRPC, b""), "no_body"),
    "a message that says it is larger than the limit": (
        Request(INFER, GRPC, b"\0\x7f\xff\xff\xff\x0a\1m"),
        "request_too_large",
    ),
    "a packed message": (grpc(gzip.compress(b"\x0a\1m"), 1, ("grpc-encoding", "gzip")), "m"),
    "a broken packed message": (grpc(b"\x0a\1m", 1, ("grpc-encoding", "gzip")), "content_encoding"),
    "not protobuf": (grpc(PLAIN), "bad_grpc"),
    "JSON where gRPC belongs": (Request(INFER, JSON, PLAIN), "content_type"),
    "gRPC-Web": (
        Request(INFER, (("content-type", "application/grpc-web+proto"),), grpc(b"\x0a\1m").body),
        "content_type",
    ),
}

PACKED: dict[str, tuple[Callable[[], Request], str]] = {
    "images of megabytes, packed": (
        lambda: chat(zstandard.compress(json.dumps(WITH_IMAGE).encode()), ("content-encoding", "zstd")),
        "m",
    ),
    "images of megabytes, packed as most clients do": (
        lambda: chat(gzip.compress(json.dumps(WITH_IMAGE).encode(), 1), ("content-encoding", "gzip")),
        "m",
    ),
    "more than is unpacked of that": (
        lambda: chat(gzip.compress(Random(1).randbytes(5 * MIB), 1), ("content-encoding", "gzip")),
        "request_too_large",
    ),
    "an image, packed": (
        lambda: chat(gzip.compress(b'{"x":"%b","model":"m"}' % IMAGE[:MIB].encode()), ("content-encoding", "gzip")),
        "m",
    ),
    "a bomb": (lambda: chat(gzip.compress(bytes(200 * MIB), 9), ("content-encoding", "gzip")), "request_too_large"),
    "a bomb in a bomb": (
        lambda: chat(gzip.compress(zlib.compress(bytes(200 * MIB), 9)), ("content-encoding", "deflate, gzip")),
        "request_too_large",
    ),
    "a packed bomb": (
        lambda: grpc(gzip.compress(bytes(200 * MIB), 9), 1, ("grpc-encoding", "gzip")),
        "request_too_large",
    ),
}
"""Made where they are asked for: every process of a test run reads this file, and packing takes seconds."""


@cache
def case(name: str) -> tuple[Request, str]:
    if name not in PACKED:
        return CASES[name]
    make, expected = PACKED[name]
    return make(), expected


@pytest.mark.parametrize("name", [*CASES, *PACKED])
def test_the_outcome(name: str) -> None:
    request, expected = case(name)
    assert whole(request) == expected
    assert whole(request, ASKED_FOR) == expected
    assert whole(request, STREAMED) == expected


@pytest.mark.parametrize("name", [*CASES, *PACKED])
def test_the_outcome_in_pieces(name: str) -> None:
    request, expected = case(name)
    random = Random(name)
    for protocol in (STREAMED, DUPLEX):
        cuts = [random.randrange(len(request.body) + 1) for _ in range(random.randrange(1, 40))]
        assert in_pieces(request, protocol, cuts) == expected
        assert in_pieces(request, protocol, cuts, trailers=True) == expected


SMALL = [request for request, _ in CASES.values() if len(request.body) < 2000]


@given(st.sampled_from(SMALL), st.lists(st.integers(0, 2000), max_size=12), st.booleans(), st.data())
def test_any_split_gives_the_same_answer(
    request: Request, cuts: list[int], trailers: bool, data: st.DataObject
) -> None:
    mangled = bytearray(request.body)
    for _ in range(data.draw(st.integers(0, 3)) if mangled else 0):
        mangled[data.draw(st.integers(0, len(mangled) - 1))] = data.draw(st.integers(0, 255))
    request = request._replace(body=bytes(mangled))
    for protocol in (STREAMED, DUPLEX):
        assert in_pieces(request, protocol, cuts, trailers) == whole(request)


@pytest.mark.parametrize("request_", SMALL[::4], ids=lambda request: request.path)
def test_byte_by_byte(request_: Request) -> None:
    assert in_pieces(request_, STREAMED, list(range(len(request_.body)))) == whole(request_)


PATHS = [
    (row.method, "/x" if row.path == ANY_PATH else row.path.replace("{model}", "m").replace("{version}", "1"))
    for row in apis.TABLE
]
PIECES = st.binary(max_size=40) | st.sampled_from(
    [
        PLAIN,
        PLAIN[:9],
        field("m"),
        b"--B--\r\n",
        grpc(b"\x0a\1m").body,
        b"\0\0\0\0\3",
        b'"model":',
        b"{",
        b"}",
        b"\xff\xfe",
    ]
)


@given(
    st.sampled_from(PATHS),
    st.sampled_from([JSON, FORM, GRPC, (), (("content-encoding", "gzip"),), (("content-encoding", "zstd"),)]),
    st.sampled_from([STREAMED, BUFFERED, ASKED_FOR, DUPLEX]),
    st.lists(PIECES, max_size=6),
    st.booleans(),
)
def test_no_input_makes_it_raise(
    line: tuple[str, str], headers: tuple[tuple[str, str], ...], protocol: Protocol, pieces: list[bytes], ends: bool
) -> None:
    snapshot = Snapshot((Policy("p", versions=(Version("v1", model_rewrite="another"),), body_limit=500),))
    stream = RouteStream(snapshot, b"entropy")
    head = Headers.of([(":method", line[0]), (":path", line[1]), *headers])
    actions = list(stream.receive(RequestHeaders(head, end_of_stream=False, protocol=protocol)))
    for piece in pieces:
        actions += stream.receive(RequestBody(piece))
    actions += stream.receive(RequestBody(b"", end_of_stream=True) if ends else Closed())
    assert stream.state is State.DONE
    assert actions.count(Finish()) == 1 or not ends


def test_a_body_of_megabytes_takes_no_more_memory_than_its_size() -> None:
    request = chat(WITH_IMAGE)
    pieces = [request.body[at : at + 16_384] for at in range(0, len(request.body), 16_384)]
    stream = RouteStream(SNAPSHOT, b"entropy")
    tracemalloc.start()
    try:
        stream.receive(request.head(STREAMED))
        for piece in pieces:
            stream.receive(RequestBody(piece))
        actions = list(stream.receive(RequestBody(b"", end_of_stream=True)))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert outcome(actions) == "m"
    assert peak <= len(request.body) + 200_000

"""The cases of header blocks: those of a client that traces, each unlike the others.

They are as Envoy 1.40 was seen to write them: the path is for no table, everything else is for the client's, and all is
in Huffman's code.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from random import Random

from hpack import Decoder, Encoder

from benchmarks.core import Case
from extproc.http2.request_headers import HeaderBlockReader

GROUP = "headers of a traced stream"
ENGINE, LIBRARY = "engine", "hpack, unchecked"
STREAMS = 2000
PATH = "/envoy.service.ext_proc.v3.ExternalProcessor/Process"
REST = [
    (":authority", "aimesh-processor"),
    (":scheme", "http"),
    ("te", "trailers"),
    ("content-type", "application/grpc"),
]
LAST = [
    ("x-envoy-internal", "true"),
    ("x-forwarded-for", "192.0.2.2"),
    ("x-envoy-expected-rq-timeout-ms", "100"),
]


def cases() -> list[Case]:
    """Ours with all that is checked of a request's headers, and the library that it took the place of."""
    blocks = list(_blocks())
    assert [head.malformed for head in map(HeaderBlockReader().read, blocks)] == [False] * STREAMS
    return [
        Case(GROUP, ENGINE, _each(lambda: HeaderBlockReader().read, blocks)),
        Case(GROUP, LIBRARY, _each(lambda: partial(Decoder().decode, raw=True), blocks)),
    ]


def _each(start: Callable[[], Callable[[bytes], object]], blocks: Sequence[bytes]) -> Callable[[], object]:
    """Reads the next of them, and after the last the first on a connection of its own."""

    def endless() -> Iterator[object]:
        while True:
            yield from map(start(), blocks)

    return endless().__next__


def _blocks() -> Iterator[bytes]:
    encoder, random = Encoder(), Random(0)
    for _ in range(STREAMS):
        trace = ("traceparent", f"00-{random.getrandbits(128):032x}-{random.getrandbits(64):016x}-00")
        method, path = encoder.encode([(":method", "POST")]), encoder.encode([(":path", PATH, True)])
        yield method + b"\x04" + path[1:] + encoder.encode([*REST, trace, *LAST])

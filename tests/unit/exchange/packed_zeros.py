"""An observer of an answer that is compressed a thousand times."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Callable, Mapping

from extproc.envoy.events import RequestHeaders, ResponseHeaders
from extproc.exchange.observe import MAX_RATE, ObserveStream
from extproc.headers import Headers
from extproc.policy.snapshot import Snapshot


def packed_zeros(
    snapshot: Snapshot, metadata: Mapping[str, str], coding: str
) -> tuple[ObserveStream, Callable[[], bytes]]:
    """A stream past its response headers, and a function for pieces that each unpack to a sixth of what is free."""
    stream, zeros = ObserveStream(snapshot), bytes(MAX_RATE // 6)
    packer = zlib.compressobj(wbits=31 if coding == "gzip" else -15)

    def flushed() -> bytes:
        return packer.compress(zeros) + packer.flush(zlib.Z_SYNC_FLUSH)

    def message() -> bytes:
        packed = gzip.compress(zeros)
        return b"\1" + len(packed).to_bytes(4) + packed

    def frame() -> bytes:
        packed = flushed()[:-4]
        return b"\xc1\x7e" + len(packed).to_bytes(2) + packed

    headers: dict[str, str]
    match coding:
        case "gzip":
            following = flushed
            headers = {":status": "200", "content-type": "text/event-stream", "content-encoding": "gzip"}
        case "grpc":
            following, metadata = message, {**metadata, "api": "vllm", "operation": "generate"}
            headers = {":status": "200", "content-type": "application/grpc", "grpc-encoding": "gzip"}
        case _:
            following, metadata = frame, {**metadata, "operation": "realtime"}
            headers = {":status": "101", "sec-websocket-extensions": "permessage-deflate"}
    stream.receive(RequestHeaders(Headers(), metadata=metadata), 0.0)
    stream.receive(ResponseHeaders(Headers.of(headers.items())), 0.1)
    return stream, following

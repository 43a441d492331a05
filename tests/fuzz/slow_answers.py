"""Answers made to be slow to read: for every wire and every content coding; see ``slow_requests``.

Those that are dense have events just as short as they may be for ever.
"""

from __future__ import annotations

import base64
import zlib
from collections.abc import Callable, Iterator
from functools import partial
from random import Random
from typing import NamedTuple
from zlib import crc32

from extproc.answers import answer_reader, realtime_session
from extproc.answers.wire.answer_coding import FREE, MAX_UNPACKED, RATIO
from extproc.answers.wire.decoder import BYTES_PER_EVENT
from extproc.headers import Headers
from tests.fuzz.slow_requests import CODINGS, Make, copying, filled, framed, wasteful

CHAT = ("openai", "chat.completions")
DEFLATE = "permessage-deflate"
GZIP_HEAD = bytes.fromhex("1f8b0800000000000003")


class Answer(NamedTuple):
    """What a model server sends."""

    api: str
    operation: str
    headers: tuple[tuple[str, str], ...]
    body: bytes


def play(answer: Answer, piece: int = 0) -> bool:
    """Reads the answer in pieces of ``piece`` bytes, 0: in one; whether it could be read to its end."""
    body, headers = answer.body, Headers.of(answer.headers)
    step = piece or max(len(body), 1)
    if "sec-websocket-extensions" in headers or answer.operation == "realtime":
        heard = realtime_session(answer.api, answer.operation, headers)
        assert heard is not None
        for at in range(0, len(body), step):
            heard.feed(body[at : at + step], 0.0)
        return not heard.malformed
    found = answer_reader(answer.api, answer.operation, headers)
    assert found is not None
    for at in range(0, len(body), step):
        found.feed(body[at : at + step])
        if found.state.over:  # nobody reads on
            break
    found.end()
    return not found.malformed


def is_packed(answer: Answer) -> bool:
    """It is compressed as a whole, or may have messages that are."""
    return any(name in ("content-encoding", "sec-websocket-extensions") for name, _ in answer.headers)


DOCUMENTS = {
    "arrays": (b"[", b"[],", b"1]"),
    "objects": (b'{"choices":[', b"{},", b"1]}"),
    "choices": (b'{"choices":[', b'{"delta":{"content":""}},', b"1]}"),
    "numbers": (b'{"choices":[', b"1,", b"1]}"),
    "digits": (b'{"usage":{"prompt_tokens":', b"1", b"}}"),
    "escapes": (b'{"choices":"', b"\\u00e4", b'"}'),
    "backslashes": (b'{"choices":"', b"\\\\", b'"}'),
    "not UTF-8": (b'{"choices":"', b"\xff", b'"}'),
    "surrogates": (b'{"choices":"', b"\\ud800", b'"}'),
    "NaN": (b"[", b"NaN,", b"1]"),
    "openings": (b'{"choices":', b"[", b""),
    "strings": (b"[", b'"",', b"1]"),
    "usages": (b"", b'"usage":{', b""),
    "usages of digits": (b" " * 270_000, b'"usage":{"prompt_tokens":1},', b""),
}
TOKEN = b'{"choices":[{"delta":{"content":"a"}}]}'
QUIET = b'{"choices":[{"delta":{"contents":""}}]}'
DENSE = {"tokens": TOKEN, "no tokens": QUIET, "no JSON": b"x" * 20, "half of JSON": QUIET[:-1]}
"""Data of events that are dense."""
CHUNK = b"\x0a\x0b\x0a\1\5\x10\x64\x18\x0a\x20\0\x28\0"
"""A token, as vLLM writes it over gRPC."""
WIRES: dict[str, dict[str, tuple[bytes, bytes, bytes]]] = {
    "text/event-stream": {
        **{name: (b"data: " + start, unit, end + b"\n\n") for name, (start, unit, end) in DOCUMENTS.items()},
        "LF": (b"", b"\n", b""),
        "CR": (b"", b"\r", b""),
        "CR LF": (b"", b"\r\n", b""),
        "comments": (b"", b":\n", b""),
        "data without end": (b"", b"data\n", b""),
        "events of nothing": (b"", b"data\n\n", b""),
        "events": (b"", b"data:{}\n\n", b""),
        "kinds": (b"", b"event:a\ndata:[]\n\n", b""),
        "a line": (b"data: ", b"x", b""),
    },
    "application/x-ndjson": {
        **{name: (start, unit, end + b"\n") for name, (start, unit, end) in DOCUMENTS.items()},
        "LF": (b"", b"\n", b""),
        "objects by line": (b"", b"{}\n", b""),
        "a line": (b"", b"x", b""),
    },
    "application/json": DOCUMENTS,
}


def dense(start: bytes, data: bytes, end: bytes) -> bytes:
    """An event of ``BYTES_PER_EVENT`` bytes."""
    return start + data.ljust(BYTES_PER_EVENT - len(start) - len(end)) + end


def _events() -> Iterator[tuple[str, Callable[[int], Answer]]]:
    """Dense ones, by wire."""
    for name, data in DENSE.items():
        for kind, start, end in (("text/event-stream", b"data:", b"\n\n"), ("application/x-ndjson", b"", b"\n")):
            unit = dense(start, data, end)
            yield f"{kind}, dense, {name}", partial(_streamed, kind, "", partial(filled, b"", unit, b""))
            for together in (1, 20):
                yield f"{kind}, dense, {name}, gzip of {together}", partial(_flushed, kind, unit, together)
        if data[:1] == b"{":
            yield f"elements, dense, {name}", partial(_array, dense(b"", data, b","))
        for api, operation in (
            ("bedrock", "invoke-with-response-stream"),
            ("sagemaker", "invocations-response-stream"),
        ):
            payload = data + b"\n" if api == "sagemaker" else b'{"bytes":"' + base64.b64encode(data) + b'"}'
            yield f"event stream of {api}, dense, {name}", partial(_messages, api, operation, message(payload))
        said = data.replace(b'{"choices', b'{"type":"response.x","choices')
        yield f"websocket, dense, {name}", partial(_said, frame(said.ljust(BYTES_PER_EVENT - 2)), "")
        yield f"websocket, dense, {name}, packed", partial(_said, frame(deflated(said), 0xC1), DEFLATE)
        yield f"grpc, dense bodies, {name}", partial(_bodies, framed(b"\x12" + bytes([len(data) + 1]) + data + b"\n"))
    for name, content in {"tokens": CHUNK, "fields": b"\x18\0" * 5 + b"\x0a\0", "no message": b"\xff" * 11}.items():
        yield f"grpc, dense, {name}", partial(_frames, framed(content), "")
        for coding, pack in CODINGS.items():
            unit = b"".join(framed(pack(content + bytes([3 << 3, n])), packed=True) for n in range(100))
            yield f"grpc, dense, {name}, {coding}", partial(_frames, unit, coding)
    kinds = b"".join(message(b"", b"\1h\0" * 7 + b"\1%c\5" % n + bytes(8)) for n in range(256))
    yield "event stream of bedrock, dense, kinds", partial(_messages, "bedrock", "converse-stream", kinds)


def _flushed(content_type: str, unit: bytes, together: int, size: int) -> Answer:
    """Events with words of their own, flushed as so many come together."""
    packer, random, packed, length = zlib.compressobj(wbits=31), Random(1), [], 0
    while length < size:
        words = [unit.replace(b'"a"', b'"%x"' % random.getrandbits(16)) for _ in range(together)]
        packed.append(packer.compress(b"".join(words)) + packer.flush(zlib.Z_SYNC_FLUSH))
        length += len(packed[-1])
    return Answer(*CHAT, (("content-type", content_type), ("content-encoding", "gzip")), b"".join(packed)[:size])


def elements(unit: bytes, size: int) -> bytes:
    """An array as Gemini streams it."""
    return filled(b"[", unit, b"1]", size)


def message(payload: bytes, headers: bytes = b"\x0b:event-type\x07\0\5chunk") -> bytes:
    """A message of an AWS event stream."""
    prelude = (16 + len(headers) + len(payload)).to_bytes(4) + len(headers).to_bytes(4)
    whole = prelude + crc32(prelude).to_bytes(4) + headers + payload
    return whole + crc32(whole).to_bytes(4)


def _streamed(content_type: str, coding: str, make: Make, size: int) -> Answer:
    headers = (("content-type", content_type),)
    if not coding:
        return Answer(*CHAT, headers, make(size))
    for content in (min(MAX_UNPACKED, FREE + RATIO * size), FREE, FREE // 8):
        body = make(content)
        packed = CODINGS[coding](body)
        if len(body) <= FREE + RATIO * len(packed):
            break
    return Answer(*CHAT, (*headers, ("content-encoding", coding)), packed)


def _blocks(make: Make, size: int) -> Answer:
    kind = (("content-type", "text/event-stream"), ("content-encoding", "gzip"))
    return Answer(*CHAT, kind, GZIP_HEAD + make(size))


def _array(unit: bytes, size: int) -> Answer:
    return Answer("gemini", "streamGenerateContent", (("content-type", "application/json"),), elements(unit, size))


def _messages(api: str, operation: str, unit: bytes, size: int) -> Answer:
    kind = "application/vnd.amazon.eventstream"
    return Answer(api, operation, (("content-type", kind),), unit * max(1, size // len(unit)))


def _frames(unit: bytes, coding: str, size: int) -> Answer:
    headers = (("content-type", "application/grpc"), ("grpc-encoding", coding))
    return Answer("vllm", "generate", headers, unit * max(1, size // len(unit)))


def _bodies(unit: bytes, size: int) -> Answer:
    return Answer(*CHAT, (("content-type", "application/grpc"),), unit * max(1, size // len(unit)))


def frame(payload: bytes, first: int = 0x81) -> bytes:
    """A frame of WebSocket."""
    size = len(payload)
    told = bytes((size,)) if size < 126 else b"\x7e" + size.to_bytes(2) if size < 65_536 else b"\x7f" + size.to_bytes(8)
    return bytes((first,)) + told + payload


def deflated(payload: bytes) -> bytes:
    """A message as permessage-deflate has it."""
    packer = zlib.compressobj(wbits=-15)
    return (packer.compress(payload) + packer.flush(zlib.Z_SYNC_FLUSH))[:-4]


def _said(unit: bytes, extensions: str, size: int) -> Answer:
    headers = (("sec-websocket-extensions", extensions),) if extensions else ()
    return Answer("openai", "realtime", headers, unit * max(1, size // len(unit)))


def _answers() -> Iterator[tuple[str, Callable[[int], Answer]]]:
    for kind, bodies in WIRES.items():
        for name, (start, unit, end) in bodies.items():
            make = partial(filled, start, unit, end)
            yield f"{kind}, {name}", partial(_streamed, kind, "", make)
            for coding in CODINGS if name in ("arrays", "LF", "a line") else ("gzip",):
                yield f"{kind}, {name}, {coding}", partial(_streamed, kind, coding, make)
    yield from _events()
    for name, blocks in {"blocks": wasteful, "blocks that give bytes": copying}.items():
        yield f"coding of answers, {name}", partial(_blocks, blocks)
    yield (
        "coding of answers, blocks of zstd",
        lambda size: Answer(
            *CHAT,
            (("content-type", "text/event-stream"), ("content-encoding", "zstd")),
            filled(b"\x28\xb5\x2f\xfd\x00\x00", b"\0\0\0", b"", size),
        ),
    )
    for name, unit in {
        "objects": b"{},", "brackets": b"[]", "strings": b'"",', "escapes": b'"\\\\",', "nested": b"[[[", "ends": b"]"
    }.items():  # fmt: skip
        yield f"elements, {name}", partial(_array, unit)
    payload = b'{"bytes":"' + base64.b64encode(b"{}") + b'"}'
    for name, unit in {
        "empty": message(b"", b""),
        "events": message(payload),
        "headers": message(b"", b"\0\0" * 1000),
        "some headers": message(b"", b"\0\0" * 8),
        "lines": message(b"\n" * 1000),
        "objects": message(b"{}\n" * 300),
        "exceptions": message(b"", b"\x0d:message-type\x07\0\5error"),
        "too long": message(b"x" * 300_000),
    }.items():
        for api, operation in (
            ("bedrock", "invoke-with-response-stream"),
            ("sagemaker", "invocations-response-stream"),
        ):
            yield f"event stream of {api}, {name}", partial(_messages, api, operation, unit)
    for name, unit, coding in (
        ("empty", framed(b""), ""),
        ("fields", framed(b"\x18\0" * 20_000), ""),
        ("messages of fields", framed(b"\x18\0" * 100), ""),
        ("messages in messages", framed(b"\x0a\x04\x0a\x02\x08\x01" * 100), ""),
        ("packed", framed(CODINGS["gzip"](bytes(1000)), packed=True), "gzip"),
        ("packed bombs", framed(CODINGS["gzip"](bytes(250_000)), packed=True), "gzip"),
        ("packed fields", framed(CODINGS["gzip"](b"\x18\0" * 100_000), packed=True), "gzip"),
    ):
        yield f"grpc, {name}", partial(_frames, unit, coding)
    for name, unit, extensions in (
        ("empty messages", frame(b""), ""),
        ("pings", frame(b"", 0x89), ""),
        ("continued", frame(b"", 0x01) + frame(b"", 0) * 1000 + frame(b"", 0x80), ""),
        ("events", frame(b'{"type":"response.created"}'), ""),
        ("errors", frame(b'{"type":"error"}'), ""),
        ("bombs", frame(deflated(bytes(1 << 20)), 0xC1), DEFLATE),
        ("objects", frame(deflated(b"[" + b"{}," * 80_000 + b"1]"), 0xC1), DEFLATE),
        ("empty and packed", frame(b"\0", 0xC1), DEFLATE),
        ("long events", frame(b'{"type":"' + b'"a":"b",' * 40_000), ""),
        ("white space", frame(b"{" + b" " * 300_000), ""),
        ("ids", frame(b'{"type":"response.x",' + b'"response":{' * 30_000), ""),
    ):
        yield f"websocket, {name}", partial(_said, unit, extensions)


ANSWERS = dict(_answers())
"""By wire and what is slow about it; each takes the bytes on the wire."""

"""Requests made to be slow to read: for every reader and every content coding, whatever a byte can be made to cost.

Each makes a request of about as many bytes on the wire as it is asked for.
"""

from __future__ import annotations

import base64
import gzip
import zlib
from collections.abc import Callable, Iterator
from functools import partial
from random import Random
from typing import NamedTuple, TypeAlias

import brotli
import zstandard

from extproc.bodies import content_coding
from extproc.envoy.events import BodyMode, Event, Protocol, RequestBody, RequestHeaders
from extproc.exchange.notes import Action
from extproc.exchange.route import RouteStream
from extproc.headers import Headers
from extproc.policy.snapshot import Policy, Snapshot, Sticky, Version

LIMIT = 10 << 20
SNAPSHOT = Snapshot(
    (
        Policy(
            "p",
            versions=(Version("v1", model_rewrite="another"),),
            sticky=Sticky(body=("user", "id")),
            body_limit=LIMIT,
        ),
    )
)
STREAMED = Protocol(BodyMode.STREAMED, send_body_without_waiting=True)

CHAT = "/v1/chat/completions"
SPEECH = "/v1/audio/transcriptions"
INFER = "/inference.GRPCInferenceService/ModelInfer"
MULTI = "/tensorflow.serving.PredictionService/MultiInference"
TOOLS = "/mcp"
SKIPPABLE = b"\x50\x2a\x4d\x18\0\0\0\0"
"""A frame of zstd that holds nothing."""
EMPTY_FRAME = b"\x28\xb5\x2f\xfd\x00\x00\x01\x00\x00"

GRPC = (("content-type", "application/grpc"),)
JSON = (("content-type", "application/json"),)
FORM = (("content-type", "multipart/form-data; boundary=B"),)

WASTE = (
    "04c081000000000010ffd524000e040000000080f8af260170200000000000c47f35098003010000000020feab49"
    "001c080000000000f15f4d02e040000000000088ff6a120007020000000040fc57930038100000000000e2bf9a"
)
"""Eight such blocks as ``wasteful`` repeats."""
META_BLOCKS = (
    "0000002082000038d832890112018000000000104100001c6c99c40089004000000000882000000eb64c628044002000"
    "00000044100000075b2631402200100000000022080080832d93182011000800000000110400c0c196490c9008000400"
    "000080080200e060cb2406480400020000004004010070b065120324020001"
)
"""Eight such as ``meta_blocks`` repeats."""

Make: TypeAlias = Callable[[int], bytes]
Head: TypeAlias = tuple[tuple[str, str], ...]
Codec: TypeAlias = Callable[[bytes], bytes]
CODINGS: dict[str, Codec] = {
    "gzip": lambda data: gzip.compress(data, 6, mtime=0),
    "deflate": lambda data: zlib.compress(data),
    "zstd": zstandard.ZstdCompressor().compress,
    "br": lambda data: brotli.compress(data, quality=3),
}


class Request(NamedTuple):
    """What a client sends."""

    path: str
    headers: tuple[tuple[str, str], ...]
    body: bytes


def play(request: Request, piece: int = 0) -> list[Action]:
    """The request through a stream that routes, its body in pieces of ``piece`` bytes; 0: in one."""
    stream = RouteStream(SNAPSHOT, b"entropy")
    head = Headers.of([(":method", "POST"), (":path", request.path), *request.headers])
    body = request.body
    step = piece or max(len(body), 1)
    events: list[Event] = [RequestHeaders(head, end_of_stream=False, protocol=STREAMED)]
    events += [RequestBody(body[at : at + step]) for at in range(0, len(body), step)]
    events.append(RequestBody(b"", end_of_stream=True))
    actions = [action for event in events for action in stream.receive(event)]
    _ = stream.request and (stream.request.stream, stream.request.max_tokens, stream.request.prompt_bytes)
    return actions


def filled(start: bytes, unit: bytes, end: bytes, size: int) -> bytes:
    """``unit`` as often as there is room for it."""
    return start + unit * max(0, (size - len(start) - len(end)) // len(unit)) + end


def numbered(start: bytes, unit: str, end: bytes, size: int) -> bytes:
    """The same, with a number in every unit, so that none is like another."""
    found, left = [start], size - len(start) - len(end)
    for n in range(size):
        left -= len(piece := (unit % n).encode())
        if left < 0:
            break
        found.append(piece)
    return b"".join((*found, end))


JSONS: dict[str, Callable[[int], bytes]] = {
    name: partial(filled, *parts)
    for name, parts in {
        "a string": (b'{"model":"a","x":"', b"y", b'"}'),
        "arrays": (b'{"model":"a","x":[{"model":1},', b"[],", b"1]}"),
        "objects": (b'{"model":"a","x":[{"model":1},', b"{},", b"1]}"),
        "numbers": (b'{"model":"a","x":[{"model":1},', b"1,", b"1]}"),
        "floats": (b'{"model":"a","x":[{"model":1},', b"1e9,", b"1]}"),
        "strings": (b'{"model":"a","x":[{"model":1},', b'"",', b"1]}"),
        "equal members": (b'{"model":"a","x":{"model":1},', b'"":0,', b'"a":1}'),
        "escaped members": (b'{"model":"a",', b'"\\u0061":0,', b'"a":1}'),
        "inner members": (b'{"model":"a","user":{', b'"":0,', b'"id":{"model":1}}}'),
        "inner escaped members": (b'{"model":"a","user":{', b'"\\u0061":0,', b'"id":{"model":1}}}'),
        "a model of arrays": (b'{"model":[', b"[],", b'1],"model":"b"}'),
        "a flag of arrays": (b'{"model":"a","stream":[', b"[],", b"1]}"),
        "options of members": (b'{"model":"a","stream_options":{', b'"":0,', b'"a":1}}'),
        "an escaped string": (b'{"model":"a","y":{"model":1},"x":"', b"\\n", b'"}'),
        "an escaped model": (b'{"model":"', b"\\u0061", b'"}'),
        "an escaped key": (b'{"model":"a","', b"\\u0061", b'":1}'),
        "backslashes": (b'{"model":"', b"\\\\", b'"}'),
        "surrogates": (b'{"model":"a","model\\u0061":"', b"\\ud83d\\ude00", b'"}'),
        "not UTF-8": (b'{"model":"a","model":"', b"\xff", b'"}'),
        "white space": (b'{"model":"a","y":{"model":1},"x":', b" ", b"1}"),
        "digits": (b'{"model":"a","y":{"model":1},"max_tokens":', b"1", b"}"),
        "a fraction": (b'{"model":"a","y":{"model":1},"max_tokens":1.', b"1", b"}"),
        "models": (b'{"x":[{"model":1}', b',{"model":1}', b'],"model":"a"}'),
        "quotes": (b'{"model":"a","x":[', b'"model",', b'""]}'),
        "openings": (b'{"model":"a","x":', b"[", b"1}"),
        "deep objects": (b'{"model":"a","x":', b'{"":', b"1}"),
        "a user of digits": (b'{"model":"a","user":{"id":', b"1", b"}}"),
        "a user of escapes": (b'{"model":"a","user":{"id":"', b"\\u00e4", b'"}}'),
    }.items()
} | {
    "members": lambda size: numbered(b'{"model":"a",', '"%d":0,', b'"a":{"model":1}}', size),
    "members with escapes": lambda size: numbered(b'{"model":"a",', '"\\u006d%d":0,', b'"a":{"model":1}}', size),
    "inner members of many names": lambda size: numbered(b'{"model":"a","user":{', '"%d":0,', b'"id":1}}', size),
    "UTF-16": lambda size: filled(b'{"model":"a","x":[', b"[],", b"1]}", size // 2).decode().encode("utf-16"),
    "UTF-32": lambda size: filled(b'{"model":"a","x":[', b"[],", b"1]}", size // 4).decode().encode("utf-32"),
}

NAMED = b'--B\r\nContent-Disposition: form-data; name="%b"\r\n\r\nx\r\n'
FORMS: dict[str, Callable[[int], bytes]] = {
    "parts": lambda size: filled(b"", NAMED % b"x", NAMED % b"model" + b"--B--\r\n", size),
    "parts without a name": lambda size: filled(b"", b"--B\r\na:b\r\n\r\n\r\n", NAMED % b"model" + b"--B--\r\n", size),
    "names of escaped backslashes": lambda size: filled(
        b"", NAMED % (b"\\\\" * 8000), NAMED % b"model" + b"--B--\r\n", size
    ),
    "names of escaped quotes": lambda size: filled(b"", NAMED % (b'\\"' * 8000), NAMED % b"model" + b"--B--\r\n", size),
    "names of backslashes": lambda size: filled(b"", NAMED % (b"\\" * 15999 + b'"'), b"--B--\r\n", size),
    "file names of escapes": lambda size: filled(
        b"", NAMED % (b'x"; filename="' + b'\\"' * 8000), NAMED % b"model" + b"--B--\r\n", size
    ),
    "long names": lambda size: filled(b"", NAMED % (b"x" * 16000), NAMED % b"model" + b"--B--\r\n", size),
    "parameters": lambda size: filled(
        b"", NAMED % b"".join(b'x";p%d="' % n for n in range(1300)), NAMED % b"model" + b"--B--\r\n", size
    ),
    "short parameters": lambda size: filled(
        b"",
        b"--B\r\nContent-Disposition:form-data" + b"".join(b";%x=" % n for n in range(2700)) + b"\r\n\r\n\r\n",
        b"--B--\r\n",
        size,
    ),
    "head lines": lambda size: filled(
        b"", b"--B\r\n" + b"".join(b"%x:\r\n" % n for n in range(2500)) + b"\r\n\r\n", b"--B--\r\n", size
    ),
    "white space": lambda size: filled(b"", NAMED % (b'x"' + b" " * 16000 + b';a="'), b"--B--\r\n", size),
    "semicolons": lambda size: filled(b"", NAMED % (b'x"' + b";" * 16000), b"--B--\r\n", size),
    "boundaries in a line": lambda size: filled(NAMED % b"model", b"--B", b"\r\n--B--\r\n", size),
    "boundaries": lambda size: filled(b"", b"--B\r\n", b"--B--\r\n", size),
    "line ends": lambda size: filled(NAMED % b"model", b"\r\n", b"--B--\r\n", size),
    "nearly boundaries": lambda size: filled(NAMED % b"model", b"\r\n--", b"\r\n--B--\r\n", size),
    "a large model": lambda size: filled(NAMED[:-3] % b"model", b"x", b"\r\n--B--\r\n", size),
}

MESSAGES: dict[str, Callable[[int], bytes]] = {
    name: partial(filled, *parts)
    for name, parts in {
        "fields": (b"\x0a\1m", b"\x18\0", b""),
        "long tags": (b"\x0a\1m", b"\x98\x80\x80\x80\x00\0", b""),
        "long numbers": (b"\x0a\1m", b"\x18\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", b""),
        "empty strings": (b"\x0a\1m", b"\x1a\0", b""),
        "models": (b"", b"\x0a\1m", b""),
        "empty models": (b"", b"\x0a\0", b"\x0a\1m"),
        "one string": (b"\x0a\1m", b"\0", b""),
    }.items()
}


def framed(message: bytes, packed: bool = False) -> bytes:
    """A message of gRPC."""
    return bytes((packed,)) + len(message).to_bytes(4) + message


def nested(size: int) -> bytes:
    """Messages within messages, as ``MultiInference`` has them, each with the name of a model."""
    inner = b"\x0a\x05\x0a\x03\x0a\x01m"
    return inner * max(1, size // len(inner))


def wasteful(size: int) -> bytes:
    """DEFLATE of empty blocks, each of 91 bits and with codes of its own (RFC 1951 §3.2.7)."""
    eight = bytes.fromhex(WASTE)
    return eight * (size // len(eight)) + b"\x03\0"


def stored(size: int) -> bytes:
    """DEFLATE of bytes as they are, in blocks of 1,000."""
    return (b"\0" + (1000).to_bytes(2, "little") + (0xFFFF - 1000).to_bytes(2, "little") + b"y" * 1000) * (size // 1005)


def copying(size: int) -> bytes:
    """DEFLATE of blocks of 14 bytes with codes of their own, each of which copies a byte 20 times."""
    return filled(b"\0\1\0\xfe\xffA", bytes.fromhex("44c0810800000000207febabaa2f"), b"\x03\0", size)


def meta_blocks(size: int) -> bytes:
    """Brotli of meta-blocks of 16 bytes that each give one, with a code of 704 lengths of its own (RFC 7932 §9.2)."""
    return filled(b"\x03", bytes.fromhex(META_BLOCKS), b"", size)  # cut short, which nobody sees before


def _plain(path: str, head: Head, make: Make, size: int) -> Request:
    return Request(path, head, make(size))


def _packed(path: str, head: Head, make: Make, codings: str, size: int) -> Request:
    """As much as unpacks to what is allowed for its size on the wire."""
    for content in (
        content_coding.unpacked_limit(size, LIMIT),
        content_coding.FREE_BYTES,
        content_coding.FREE_BYTES // 8,
        1000,
    ):
        body = content_of = make(content)
        for name in codings.split(", "):
            body = CODINGS[name](body)
        if len(content_of) <= content_coding.unpacked_limit(len(body), LIMIT) and len(body) <= size + 100:
            break
    return Request(path, (*head, ("content-encoding", codings)), body)


def _called(grpc_coding: str, path: str, make: Make, size: int) -> Request:
    """A message of gRPC."""
    if not grpc_coding:
        return Request(path, GRPC, framed(make(size - 5)))
    packed = _packed(path, (), make, grpc_coding, size - 5).body
    return Request(path, (*GRPC, ("grpc-encoding", grpc_coding)), framed(packed, packed=True))


def _rpc(name: str, size: int) -> Request:
    params = JSONS[name](size - 50).replace(b'"model"', b'"name"')
    return Request(TOOLS, (), b'{"method":"tools/call","params":' + params + b"}")


def _coded(name: str, start: bytes, unit: bytes, size: int) -> Request:
    return Request(CHAT, (("content-encoding", name),), filled(start, unit, b"", size))


def _padded(name: str, coding: str, size: int) -> Request:
    """A body of ``size`` bytes on the wire, nearly all of noise, that unpacks to as much of ``name`` as it may."""
    noise = b'"%b"' % base64.b64encode(Random(size).randbytes(size * 95 // 100))
    rest = content_coding.unpacked_limit(size, LIMIT) - len(noise) - 100
    body = JSONS[name](rest)
    if name == "arrays":  # as many as may be, and white space
        body = JSONS[name](max(content_coding.FREE_FRAGMENTS, size) * 9 // 10).removesuffix(b"1]}")
        body += b" " * max(0, rest - len(body)) + b"1]}"
    body = body.removesuffix(b"}") + b',"noise":' + noise + b"}"
    return Request(CHAT, (("content-encoding", coding),), CODINGS[coding](body))


def _blocks(coding: str, make: Make, size: int) -> Request:
    return Request(CHAT, (("content-encoding", coding),), make(size))


def _requests() -> Iterator[tuple[str, Callable[[int], Request]]]:
    for kind, path, head, bodies in (("json", CHAT, JSON, JSONS), ("multipart", SPEECH, FORM, FORMS)):
        for name, make in bodies.items():
            yield f"{kind}, {name}", partial(_plain, path, head, make)
            every = name in ("a string", "arrays", "parts", "file names of escapes")
            for codings in (*CODINGS, "gzip, gzip", "zstd, gzip") if every else ("gzip",):
                yield f"{kind}, {name}, {codings}", partial(_packed, path, head, make, codings)
    for name, make in (*MESSAGES.items(), ("nested", nested)):
        for grpc_coding in ("", "gzip", "deflate"):
            path = MULTI if name == "nested" else INFER
            yield (
                f"grpc, {name}" + (", " + grpc_coding if grpc_coding else ""),
                partial(_called, grpc_coding, path, make),
            )
    for name in ("arrays", "members", "members with escapes", "escaped members", "floats"):
        yield f"rpc, {name}", partial(_rpc, name)
    for name, codings, start, unit in (
        ("gzip members", "gzip", b"", gzip.compress(b"", mtime=0)),
        ("zstd frames", "zstd", b"", EMPTY_FRAME),
        ("zstd skippable", "zstd", b"", SKIPPABLE),
        ("zstd blocks", "zstd", b"\x28\xb5\x2f\xfd\x00\x00", b"\0\0\0"),
        ("deflate stored blocks", "deflate", b"", b"\0\0\0\xff\xff"),
        ("brotli metadata", "br", b"\x0b", b"\x06"),
        ("garbage", "gzip", b"", b"\xff"),
    ):
        yield f"coding, {name}", partial(_coded, codings, start, unit)
    for name in ("white space", "a fraction", "a string", "arrays"):
        for coding in CODINGS:
            yield f"coding, as much as may be of {name}, {coding}", partial(_padded, name, coding)
    for name, coding, blocks in (
        ("deflate blocks", "deflate", wasteful),
        ("deflate blocks that give bytes", "deflate", copying),
        ("brotli blocks", "br", meta_blocks),
        ("half of deflate blocks", "deflate", lambda size: stored(size // 2) + wasteful(size - size // 2)),
    ):
        yield f"coding, {name}", partial(_blocks, coding, blocks)
    yield (
        "coding, gzip in gzip",
        lambda size: Request(  # noqa: ARG005
            CHAT, (("content-encoding", "gzip, gzip"),), CODINGS["gzip"](CODINGS["gzip"](bytes(LIMIT)))
        ),
    )
    yield (
        "coding, a window of brotli",
        lambda size: Request(  # noqa: ARG005
            CHAT, (("content-encoding", "br"),), CODINGS["br"](bytes(LIMIT))
        ),
    )
    yield "target, query", lambda size: Request("/v1/models?" + "&a" * (size // 2), (), b"")
    yield "target, a query that names a model", lambda size: Request("/score?" + "a=%41&" * (size // 6), (), b"{}")
    yield "target, escapes", lambda size: Request("/v2/models/" + "%41" * (size // 3) + "/infer", (), b"{}")
    yield "target, segments", lambda size: Request("/" * size, (), b"{}")
    yield "head, content-encoding", lambda size: Request(CHAT, (("content-encoding", "," * size),), b"{}")
    long_type = 'multipart/form-data; boundary=B; a="%s"'
    yield (
        "head, content-type",
        lambda size: Request(SPEECH, (("content-type", long_type % ('\\"' * (size // 2))),), b"x"),
    )


REQUESTS = dict(_requests())
"""By reader and what is slow about it; each takes the bytes on the wire."""

"""What tests of decoders share: messages as they are framed, and how a decoder is read."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable, Sequence

from extproc.answers.wire.decoder import Decoder, Event


def read(make: Callable[[], Decoder], *pieces: bytes) -> list[Event]:
    decoder = make()
    found = [event for piece in pieces for event in decoder.feed(piece)]
    return [*found, *decoder.end()]


def bytewise(text: bytes) -> Sequence[bytes]:
    return [text[at : at + 1] for at in range(len(text))]


def grpc(message: bytes, compressed: int = 0) -> bytes:
    return bytes([compressed]) + struct.pack(">I", len(message)) + message


def aws(payload: bytes, headers: bytes = b"", **named: str) -> bytes:
    for name, value in named.items():
        key = b":" + name.replace("_", "-").encode()
        headers += bytes([len(key)]) + key + b"\7" + struct.pack(">H", len(value)) + value.encode()
    prelude = struct.pack(">II", 16 + len(headers) + len(payload), len(headers))
    message = prelude + struct.pack(">I", zlib.crc32(prelude)) + headers + payload
    return message + struct.pack(">I", zlib.crc32(message))


def spoiled(message: bytes, at: int) -> bytes:
    return message[:at] + bytes([message[at] ^ 1]) + message[at + 1 :]

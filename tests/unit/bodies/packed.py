"""Packed bodies, made by libraries and by hand, and a library that tells what it is given."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Callable
from functools import partial
from typing import Any

import brotli
import zstandard


def bare(data: bytes) -> bytes:
    packer = zlib.compressobj(wbits=-15)
    return packer.compress(data) + packer.flush()


def streamed_zstd(data: bytes) -> bytes:
    """A frame that says nothing of its size."""
    packer = zstandard.ZstdCompressor(write_checksum=True, write_content_size=False).compressobj()
    return packer.compress(data) + packer.flush()


PACKED: list[tuple[str, Callable[[bytes], bytes]]] = [
    ("gzip", gzip.compress),
    ("x-gzip", gzip.compress),
    ("deflate", zlib.compress),
    ("deflate", bare),
    ("zstd", zstandard.compress),
    ("zstd", streamed_zstd),
    ("br", brotli.compress),
]
IDS = ["gzip", "x-gzip", "zlib", "bare deflate", "zstd", "zstd without size", "br"]


def packed_zeros(name: str) -> bytes:
    """64 MiB of zeros."""
    block = bytes(1 << 20)
    packer: Any
    match name:
        case "gzip":
            packer = zlib.compressobj(1, wbits=31)
        case "deflate":
            packer = zlib.compressobj(1)
        case "zstd":
            packer = zstandard.ZstdCompressor().compressobj()
        case _:
            packer = brotli.Compressor(quality=1)
    compress = packer.process if name == "br" else packer.compress
    finish = packer.finish if name == "br" else packer.flush
    return b"".join([*(compress(block) for _ in range(64)), finish()])


def stored(data: bytes) -> bytes:
    """A block of DEFLATE that holds data as they are, not the last (RFC 1951 §3.2.4)."""
    return b"\0" + len(data).to_bytes(2, "little") + (len(data) ^ 0xFFFF).to_bytes(2, "little") + data


class Taken:
    """Stands in for a library, and tells what its unpackers were given."""

    def __init__(self, library: Any, *names: str) -> None:
        self.given: list[bytes] = []
        self.error = library.error
        for name in names:
            setattr(self, name, partial(self._unpacker, getattr(library, name)))

    @property
    def pieces(self) -> list[int]:
        """The number of bytes of each call."""
        return [len(piece) for piece in self.given]

    def _unpacker(self, make: Callable[..., Any], *arguments: Any) -> Any:
        unpacker = make(*arguments)
        taken = self

        class Unpacker:
            def __getattr__(self, name: str) -> Any:
                return getattr(unpacker, name)

            def decompress(self, data: bytes, limit: int) -> bytes:
                taken.given.append(bytes(data))
                return bytes(unpacker.decompress(data, limit))

            def process(self, data: bytes, output_buffer_limit: int) -> bytes:
                taken.given.append(bytes(data))
                return bytes(unpacker.process(data, output_buffer_limit=output_buffer_limit))

        return Unpacker()

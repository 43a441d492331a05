"""A prompt as a chain of hashes, by which two prompts are found to begin alike.

The prompt is what stands in the request's body, as bytes: no tokenizer is needed, and two prompts that begin with the
same text begin with the same tokens, but for the last one before they differ. The blocks are of bytes, as those of the
prefix plugin of the Gateway API's endpoint picker (llm-d-router, ``approximateprefix``) are of characters; each hash is
of the block and of the hash before it, as in vLLM's cache (docs.vllm.ai, "Automatic Prefix Caching"), so that equal
hashes mean equal prefixes.

The hash is Python's own of bytes: SipHash with a key that is drawn when the process starts (PEP 456). Who can make two
prompts with one hash can fill an index with false prefixes, and have requests sent where nothing is cached; without the
key nobody can. So the hashes of two processes have nothing in common. With ``PYTHONHASHSEED`` set the key is known.

What processes need in common are marks, by which a prompt that is new to one goes where others send it. Whoever makes
prompts of one mark has them sent to one endpoint, which he also has by sending one prompt again and again.
"""

from __future__ import annotations

from functools import lru_cache
from zlib import crc32

import msgspec

MAX_BLOCKS = 144
"""Most blocks of a prompt: what is behind them is not compared."""
BLOCKS_OF_A_LENGTH = 16
"""After so many blocks, blocks are longer …"""
GROWTH = 2
"""… by this factor. 144 blocks, the first of them of 256 bytes, reach to 2 MB. What the end of a common prefix has
beyond whole blocks is at most an eighth of it once it is longer than 4 KB."""
FIRST_MARK, LAST_MARK = 1 << 10, 1 << 20
"""Bytes."""


class Prompt(msgspec.Struct, frozen=True):
    """What a pick knows of a prompt."""

    size: int = 0
    """Bytes."""
    blocks: tuple[int, ...] = ()
    """The chain of hashes."""
    marks: tuple[int, ...] = ()
    """Of the first ``FIRST_MARK`` bytes, of twice as many, of four times as many …: the same in every process."""


NO_PROMPT = Prompt()
"""Where a request has none, or it can't be told."""


@lru_cache(maxsize=64)
def block_ends(block_bytes: int) -> tuple[int, ...]:
    """Where the blocks end, in bytes from the start of the prompt."""
    ends, at = [], 0
    for number in range(MAX_BLOCKS):
        at += block_bytes * GROWTH ** (number // BLOCKS_OF_A_LENGTH)
        ends.append(at)
    return tuple(ends)


def prompt_of(raw: bytes, block_bytes: int, root: str = "") -> Prompt:
    """The prompt in the bytes of its JSON value. ``root``: the model or adapter, whose caches have nothing in common
    with those of others. Only whole blocks count, at most ``MAX_BLOCKS``.
    """
    size = len(raw)
    marks, mark, start, end = [], crc32(root.encode()), 0, FIRST_MARK
    while end <= size and end <= LAST_MARK:
        mark = crc32(raw[start:end], mark)
        marks.append(mark)
        start, end = end, 2 * end
    chain, start = hash(root), 0
    blocks = []
    for end in block_ends(block_bytes):
        if end > size:
            break
        chain = hash((chain, raw[start:end]))
        blocks.append(chain)
        start = end
    return Prompt(size, tuple(blocks), tuple(marks))

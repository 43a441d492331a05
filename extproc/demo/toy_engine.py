"""What keeps a toy model server busy: requests in slots, others that wait, prompts of which it knows the beginning."""

from __future__ import annotations

import asyncio
from collections import Counter, OrderedDict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import takewhile

BLOCK, BLOCK_TOKENS = 64, 16
"""Bytes and tokens of a block of a prompt: what is known of prompts is known by whole blocks."""
BLOCKS = 4096
"""That are remembered: 256 KiB of prompts."""
READ_RATE = 20_000.0
"""Bytes of a prompt that are read in a second: 5,000 tokens."""
SLOTS = 256
"""Requests at once, where nothing else is said: as many as vLLM's ``max_num_seqs``."""


def prefix_blocks(text: bytes, size: int = BLOCK) -> tuple[int, ...]:
    """What identifies the whole blocks of a text, ``size`` bytes each: each tells of all that is before it."""
    chain, found = 0, []
    for start in range(0, len(text) - size + 1, size):
        chain = hash((chain, text[start : start + size]))
        found.append(chain)
    return tuple(found)


class ToyEngine:
    """Requests get a slot in the order in which they come. Of prompts in slots, what is not known has to be read."""

    def __init__(self, slots: int = SLOTS) -> None:
        self.waiting = 0
        """Requests without a slot."""
        self.running = 0
        """Requests in slots."""
        self._slots = asyncio.Semaphore(slots)
        self._used: Counter[int] = Counter()
        """Blocks of the prompts in slots, and by how many of these each is used."""
        self._known: OrderedDict[int, None] = OrderedDict()
        """Blocks of prompts that were read; that which was not used for the longest time first."""

    @property
    def cache(self) -> float:
        """Share of the memory that prompts in slots need, 0 to 1."""
        return min(1.0, len(self._used) / BLOCKS)

    @asynccontextmanager
    async def turn(self, prompt: bytes) -> AsyncIterator[float]:
        """Waits for a slot and keeps it while the block lasts: the seconds that it takes to read the prompt."""
        self.waiting += 1
        try:
            await self._slots.acquire()
        finally:
            self.waiting -= 1
        blocks = prefix_blocks(prompt)[:BLOCKS]
        self.running += 1
        self._used.update(blocks)
        try:
            yield (len(prompt) - BLOCK * self._known_of(blocks)) / READ_RATE
            self._remember(blocks)
        finally:
            self._used -= Counter(blocks)
            self.running -= 1
            self._slots.release()

    def _known_of(self, blocks: tuple[int, ...]) -> int:
        return sum(1 for _ in takewhile(self._known.__contains__, blocks))

    def _remember(self, blocks: tuple[int, ...]) -> None:
        for block in reversed(blocks):  # a beginning is worth more than what follows it
            self._known[block] = None
            self._known.move_to_end(block)
        while len(self._known) > BLOCKS:
            self._known.popitem(last=False)

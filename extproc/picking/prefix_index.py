"""Which endpoint has which prefixes in its cache, as far as can be told by where requests were sent.

An approximation: an endpoint has the prefixes of the prompts that it got, until so many others have come that its cache
has let go of the oldest. Nothing is asked of the servers. So do the prefix plugin of the Gateway API's endpoint picker
(llm-d-router, ``approximateprefix``, an LRU of block hashes for each endpoint) and the router of LMetric (Zhang et al.,
"LMetric: Simple is Better", arXiv 2603.15202).
"""

from __future__ import annotations

from collections import OrderedDict

_STRIDE = 8
"""Blocks of which only the last one is looked up first: who has that one has those before it."""
_FRESH = 8
"""A path that was used within this part of what its endpoint may have is as good as new: nothing of it will go soon."""


class PrefixIndex:
    """The prefixes of one target's endpoints. Used by one thread."""

    def __init__(self, capacity: int) -> None:
        """``capacity``: blocks of all endpoints together; each may have an equal part."""
        self._capacity = capacity
        self._share = capacity
        self._addresses: tuple[str, ...] = ()
        self._slots: dict[str, int] = {}
        """By address the bit that stands for the endpoint in ``_holders``."""
        self._places: list[int] = []
        """By number of the bit the endpoint's place among the addresses; -1: none."""
        self._bits: list[int] = []
        """By place the endpoint's bit."""
        self._holders: dict[int, int] = {}
        """By block the endpoints that have it, a bit for each."""
        self._blocks: list[OrderedDict[int, int]] = []
        """By bit the endpoint's blocks, those that were not used for the longest time first. Each with the endpoint's
        ``_uses`` when all blocks from the first one to it were last moved to the end.
        """
        self._uses: list[int] = []
        """By bit how often a block of the endpoint was added or moved to the end."""

    def __len__(self) -> int:
        """Blocks of all endpoints together."""
        return sum(map(len, self._blocks))

    def keep(self, addresses: tuple[str, ...]) -> None:
        """These are the endpoints from now on: those of others is forgotten."""
        if addresses is self._addresses:
            return
        for address in self._slots.keys() - set(addresses):
            self._forget(self._slots.pop(address))
        free = [slot for slot, place in enumerate(self._places) if place < 0]
        for slot in range(len(self._places)):
            self._places[slot] = -1
        for place, address in enumerate(addresses):
            slot = self._slots.get(address, -1)
            if slot < 0:
                slot = free.pop() if free else len(self._blocks)
                if slot == len(self._blocks):
                    self._blocks.append(OrderedDict())
                    self._uses.append(0)
                    self._places.append(-1)
                self._slots[address] = slot
            self._places[slot] = place
        self._bits = [1 << self._slots[address] for address in addresses]
        self._addresses = addresses
        self._share = max(1, self._capacity // max(1, len(addresses)))
        for slot, blocks in enumerate(self._blocks):
            self._shorten(slot, blocks)

    def match(self, blocks: tuple[int, ...]) -> list[tuple[int, int]]:
        """Who has how many of the first blocks: pairs of a set of endpoints, a bit for each (``places``), and a number.

        The sets have nothing in common; who has none is in none.
        """
        found: list[tuple[int, int]] = []
        holders, depth, size = self._holders, 1, len(blocks)
        alive = holders.get(blocks[0], 0) if size else 0
        while alive and depth < size:
            ahead = depth + _STRIDE
            if ahead <= size and alive & holders.get(blocks[ahead - 1], 0) == alive:
                depth = ahead
                continue
            for block in blocks[depth:ahead]:
                still = alive & holders.get(block, 0)
                if still != alive:
                    found.append((alive ^ still, depth))
                    alive = still
                    if not alive:
                        return found
                depth += 1
        if alive:
            found.append((alive, depth))
        return found

    def bit(self, place: int) -> int:
        """The bit that stands for the endpoint in sets."""
        return self._bits[place]

    def places(self, endpoints: int) -> list[int]:
        """The places, among the addresses, of a set of endpoints."""
        places, found = self._places, []
        for at, byte in enumerate(endpoints.to_bytes((len(places) + 7) >> 3, "little")):
            if byte:
                found += [places[(at << 3) + bit] for bit in range(8) if byte >> bit & 1]
        return found

    def add(self, address: str, blocks: tuple[int, ...], known: int) -> None:
        """The endpoint gets a prompt of these blocks, of which it has the first ``known``, as ``match`` says."""
        slot = self._slots.get(address, -1)
        if slot < 0:
            return
        bit = 1 << slot
        own, holders, uses = self._blocks[slot], self._holders, self._uses[slot]
        used = own.get(blocks[known - 1], -1) if known else -1
        if used >= 0 and uses - used < self._share // _FRESH:
            blocks = blocks[known:]  # what is new goes with the path that it continues
        else:
            used = uses
        for block in reversed(blocks):  # servers let go of the end of a prompt first, and so does this
            if block in own:
                own.move_to_end(block)
            else:
                holders[block] = holders.get(block, 0) | bit
            own[block] = used
        self._uses[slot] = uses + len(blocks)
        self._shorten(slot, own)

    def _shorten(self, slot: int, blocks: OrderedDict[int, int]) -> None:
        while len(blocks) > self._share:
            block, _ = blocks.popitem(last=False)
            self._drop(block, slot)

    def _forget(self, slot: int) -> None:
        for block in self._blocks[slot]:
            self._drop(block, slot)
        self._blocks[slot] = OrderedDict()
        self._places[slot] = -1

    def _drop(self, block: int, slot: int) -> None:
        left = self._holders[block] & ~(1 << slot)
        if left:
            self._holders[block] = left
        else:
            del self._holders[block]

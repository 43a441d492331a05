"""Weighted rendezvous hashing: which of several weighted things a key belongs to.

A pure function of the names, the weights and the key, so every replica, every mesh and every restart agrees. Each entry
draws, from a hash of its name and the key, the time of an exponential race with its weight as the rate; the first to
arrive wins. Raising the weight of one entry only makes that entry arrive earlier: keys move to it, never away from it,
and never between the others. Source: Schindelhauer and Schomaker, "Weighted distributed hash tables", SPAA 2005.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from math import log
from typing import Generic, TypeVar

T = TypeVar("T")


class Rendezvous(Generic[T]):
    """Entries with weights, hashed under a common salt. Immutable, and cheap to ask (about a microsecond an entry)."""

    __slots__ = ("_entries", "_only")

    def __init__(self, salt: str, entries: Sequence[tuple[str, float, T]]) -> None:
        """``entries``: (name, weight, value); those of weight 0 never win.

        The hash is BLAKE2b with 8 bytes of digest over ``salt NUL name NUL key``.
        """
        alive = [(name, weight, value) for name, weight, value in entries if weight > 0]
        self._only = alive[0][2] if len(alive) == 1 else None
        self._entries = tuple(
            (hashlib.blake2b(f"{salt}\0{name}\0".encode(), digest_size=8), weight, value)
            for name, weight, value in alive
        )

    def choose(self, key: bytes, scale: Callable[[T], float] | None = None) -> T | None:
        """The value that ``key`` belongs to; None where no entry has a weight.

        ``scale``: by how much more or less than its weight a value counts this time, above 0.
        """
        if self._only is not None:
            return self._only
        best, winner = 0.0, None
        for state, weight, value in self._entries:
            hashed = state.copy()
            hashed.update(key)
            # The top 53 bits as a number strictly between 0 and 1, exact in a double.
            uniform = ((int.from_bytes(hashed.digest()) >> 11) + 0.5) / (1 << 53)
            arrival = -log(uniform) / (weight if scale is None else weight * scale(value))
            if winner is None or arrival < best:
                best, winner = arrival, value
        return winner

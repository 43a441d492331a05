"""Weighted rendezvous hashing: which of several weighted entries a key belongs to.

A pure function of names, weights and key, so that all replicas and restarts agree. For a key, each entry draws an
exponentially distributed arrival time from a hash of its name and the key, its weight being the rate; the earliest
wins. Raising one entry's weight makes only its arrivals earlier: keys move to it, none away from it and none between
others. Source: Schindelhauer and Schomaker, "Weighted distributed hash tables", SPAA 2005.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from math import log
from typing import Any, Generic, TypeVar

T = TypeVar("T")

LAST = 1e-200
"""A factor on a weight by which an entry is chosen only where there is no other."""
_DRAWS = float(1 << 53)
"""How many numbers can be drawn."""
MAX_KNOWN, MAX_KNOWN_KEY = 16_384, 64
"""Keys whose values are remembered by all hashes of a process together, and bytes of such a key."""


class _Memory:
    """What hashes remember: so many keys of all of them that memory does not grow with their number."""

    __slots__ = ("_count", "_of")

    def __init__(self) -> None:
        self._of: list[dict[bytes, Any]] = []
        """Of each hash that remembers something."""
        self._count = 0

    def keep(self, known: dict[bytes, Any], key: bytes, value: object) -> None:
        """One more; all others are forgotten where there would be too many. ``known``: of its hash."""
        if self._count >= MAX_KNOWN:
            for one in self._of:
                one.clear()
            self._of, self._count = [], 0
        if not known:
            self._of.append(known)
        known[key] = value
        self._count += 1


_memory = _Memory()


class RendezvousHash(Generic[T]):
    """Weighted entries under a common salt. Immutable, but for what it remembers."""

    __slots__ = ("_entries", "_known", "_only")

    def __init__(self, salt: str, entries: Sequence[tuple[str, float, T]]) -> None:
        """``entries``: (name, weight, value); an entry of weight 0 is never chosen.

        The hash is BLAKE2b with 8 bytes of digest over ``salt NUL name NUL key``.
        """
        weighted = [(name, weight, value) for name, weight, value in entries if weight > 0]
        self._only = weighted[0][2] if len(weighted) == 1 else None
        self._known: dict[bytes, T | None] = {}
        self._entries = tuple(
            (hashlib.blake2b(f"{salt}\0{name}\0".encode(), digest_size=8), weight, value)
            for name, weight, value in weighted
        )

    def choose_again(self, key: bytes) -> T | None:
        """What ``choose`` gives, remembered: for keys that come again, as those of users do, and random ones do not."""
        known = self._known.get(key)
        if known is None:
            known = self.choose(key)
            if len(key) <= MAX_KNOWN_KEY:
                _memory.keep(self._known, key, known)
        return known

    def choose(self, key: bytes, scale: Callable[[T], float] | None = None) -> T | None:
        """The value that ``key`` belongs to; None where no entry has a weight.

        ``scale``: a factor on the weight of a value for this call, above 0.
        """
        if (only := self._only) is not None:
            return only
        earliest, winner = 0.0, None
        for state, weight, value in self._entries:
            hashed = state.copy()
            hashed.update(key)
            arrival = _arrival(hashed.digest(), weight if scale is None else weight * scale(value))
            if winner is None or arrival < earliest:
                earliest, winner = arrival, value
        return winner

    def ranked(self, key: bytes) -> list[T]:
        """All values: the one that ``key`` belongs to, the one that it would belong to without that one, and so on."""
        arrivals: list[tuple[float, int, T]] = []
        for state, weight, value in self._entries:
            hashed = state.copy()
            hashed.update(key)
            arrivals.append((_arrival(hashed.digest(), weight), len(arrivals), value))
        arrivals.sort()
        return [value for _, _, value in arrivals]


def _arrival(digest: bytes, rate: float) -> float:
    """A draw from the exponential distribution of this rate, by 8 uniformly distributed bytes."""
    number = 0
    for byte in digest:  # compiled, faster than int.from_bytes()
        number = number << 8 | byte
    # The top 53 bits as a number strictly between 0 and 1, exact in a double.
    uniform = ((number >> 11) + 0.5) / _DRAWS
    logarithm = log(uniform)
    return -logarithm / rate

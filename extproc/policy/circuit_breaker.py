"""What a policy says of its adaptive circuit breakers, and what they say of a request."""

from __future__ import annotations

import msgspec

DEFAULT_MIN, DEFAULT_MAX = 4, 1024
"""Requests at a time, where the policy does not say."""


class CircuitBreaker(msgspec.Struct, frozen=True):
    """``trafficManagement.circuitBreaker`` of a policy: its bounds hold for each version on each GPU pool."""

    min_concurrency: int = DEFAULT_MIN
    max_concurrency: int = DEFAULT_MAX
    fallback_version: str = ""
    """Version that answers what no pool of the decided one takes."""
    fallback_policy: str = ""
    """Or policy that does, as if its first model had been asked for."""

    def share(self, processes: int) -> CircuitBreaker:
        """The part of one of several processes that serve the same requests."""
        most = max(1, self.max_concurrency // processes)
        least = min(most, max(1, self.min_concurrency // processes))
        return msgspec.structs.replace(self, min_concurrency=least, max_concurrency=most)


class Busy(msgspec.Struct, frozen=True):
    """Why a request is not admitted."""

    ejected: bool
    retry_after: int
    """Seconds until which it is of no use to ask again."""

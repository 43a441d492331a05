"""Which answers are observed where Envoy's account counts every request: a share of them, which stands for all.

It is decided with the version, and told in the dynamic metadata: Envoy opens no stream to the observer for the others
(``render.envoy.filters``), or the observer leaves them when it has their status. A policy names the share
(``observability.sampling``, or ``observe: full``), or it follows the rate: up to ``FULL_RATE`` all are observed, and
beyond it never fewer than that. What an observed answer tells counts 1/share times (Horvitz and Thompson, "A
Generalization of Sampling Without Replacement from a Finite Universe", 1952), so sums and percentiles are those of all
answers, also where shares differ in time, between processors, or between what is added up.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import TypeAlias

import msgspec

from extproc.answers import is_session
from extproc.envoy.actions import Mutation
from extproc.policy.decision import Decision

OBSERVE = "observe"
"""Key of the metadata: the share of which this answer was drawn, a decimal, or ``LEFT_OUT``. Not there where the share
is 1."""
LEFT_OUT = "0"
STREAMED = "streamed"
"""Key of the metadata of policies with a circuit breaker: the request asks for a stream, whose first token comes before
its end.
"""

FULL_RATE = 20
"""Answers a second of each row and processor up to which all are observed. Beyond twice as many, since the share is a
power of two, one to two times as many are: percentiles of five minutes up to p95 are within 3 % of those of all,
p99 is within 5 % mostly (``tests/unit/exchange/test_sampling.py``)."""
LIMITED = 4
"""Times as many are observed where a circuit breaker must soon see that answers come late."""
MAX_ROWS = 10_000
"""Rows whose rates are kept."""

_DRAW_BYTES = 6
"""Of the entropy: a float holds as many bits exactly."""
_DRAWS = 1 << 8 * _DRAW_BYTES
_SHARES = (1.0, *(0.5**n for n in range(17)))
"""By the number of binary digits of how many times ``FULL_RATE`` the rate is."""

Row: TypeAlias = tuple[str, str, str, bool]
"""Pattern of the model, version and GPU pool, as metrics have them; and whether a stream is asked for, since only
streams have tokens' times, and documents shall not crowd them out."""


class Rate:
    """A smoothed rate per second of what comes now and then: the count of the last second, older ones fading out."""

    __slots__ = ("_last", "per_second")

    def __init__(self) -> None:
        self.per_second, self._last = 0.0, 0.0

    def note(self, now: float) -> float:
        """One more comes. ``now``: seconds of a monotonic clock. The rate, this one included."""
        elapsed = now - self._last
        self._last = now
        self.per_second = rate = 1.0 + (self.per_second * (1.0 - elapsed) if elapsed < 1.0 else 0.0)
        return rate


class AdaptiveShares:
    """The shares of policies that name none. Each processor, and each worker of one, has its own part of the requests,
    and its own rates.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._rates: dict[Row, Rate] = {}

    def share(self, row: Row) -> float:
        """The share for a request of the row that comes now."""
        rate = self._rates.get(row)
        if rate is None:
            if len(self._rates) >= MAX_ROWS:
                self._rates.clear()  # most are of policies of old
            rate = self._rates[row] = Rate()
        times = int(rate.note(self._clock()) / FULL_RATE)
        return _SHARES[min(times.bit_length(), len(_SHARES) - 1)]


def with_sampling(
    mutation: Mutation, decision: Decision, entropy: bytes, shares: AdaptiveShares | None, *, streamed: bool
) -> Mutation:
    """The mutation, with what was drawn for the request, and what a circuit breaker needs to know of it.

    ``entropy``: its random bytes; ``shares``: None observes all where the policy names no share; ``streamed``: a stream
    is asked for.
    A session of a realtime API is always observed: nobody else counts the answers within it.
    """
    policy = decision.policy
    if streamed and policy is not None and policy.breaker is not None:
        mutation = _marked(mutation, STREAMED, "true")
    share = 1.0 if policy is None else policy.sampling
    if share is None:
        version = decision.version if policy is not None and policy.versions else ""  # else it is the client's own text
        share = 1.0 if shares is None else shares.share((decision.pattern, version, decision.pool, streamed))
        if policy is not None and policy.breaker is not None:
            share = min(1.0, LIMITED * share)
    if share == 1 or is_session(decision.request.api, decision.request.operation):
        return mutation
    drawn = int.from_bytes(entropy[:_DRAW_BYTES]) < share * _DRAWS
    return _marked(mutation, OBSERVE, repr(share) if drawn else LEFT_OUT)


@lru_cache(maxsize=4096)
def _marked(mutation: Mutation, key: str, value: str) -> Mutation:
    """Cached, as the mutation is, so that its bytes are made once."""
    return msgspec.structs.replace(mutation, metadata=(*mutation.metadata, (key, value)))


def share_told(metadata: Mapping[str, str]) -> float:
    """The share of which an answer was drawn; 0 for one that is left out, and 1 where nothing sensible is told."""
    told = metadata.get(OBSERVE)
    if told is None:
        return 1.0
    try:
        share = float(told)
    except ValueError:
        return 1.0
    return share if 0 <= share <= 1 else 1.0

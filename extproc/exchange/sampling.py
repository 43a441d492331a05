"""Which answers are observed where Envoy's account counts every request: a share of them, which stands for all.

It is decided with the version, and told in the dynamic metadata: Envoy opens no stream to the observer for the others
(``render.envoy.filters``), or the observer leaves them when it has their status. A policy names the share
(``observability.sampling``, or ``observe: full``), or it follows the rate: up to ``FULL_RATE`` all are observed, and
beyond it never fewer than that. Of streams, whose every token costs Envoy and us a message, those are then read up to
their first token, and a share of them that follows ``END_RATE`` is read to its end. What an observed answer tells
counts 1/share times (Horvitz and Thompson, "A Generalization of Sampling Without Replacement from a Finite Universe",
1952), so sums and percentiles are those of all answers, also where shares differ in time, between processors, or
between what is added up.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache
from math import log2
from typing import TypeAlias

import msgspec

from extproc.apis.answer_table import SESSIONS
from extproc.envoy.actions import Mutation
from extproc.policy.decision import Decision
from extproc.policy.rollout_plan import ENDED

OBSERVE = "observe"
"""Key of the metadata: the share of which this answer was drawn, a decimal, or ``LEFT_OUT``. Not there where the share
is 1."""
OBSERVE_TO_END = "observe_to_end"
"""The same for a stream that is read to its end; ``LEFT_OUT``: only up to its first token. Not there where the shares
are the same."""
LEFT_OUT = "0"
STREAMED = "streamed"
"""Key of the metadata of policies with a circuit breaker: the request asks for a stream, whose first token comes before
its end.
"""

FULL_RATE = 20
"""Answers a second of each row and processor up to which all are observed. Beyond twice as many, since the share is a
power of two, one to two times as many are: percentiles of five minutes up to p95 are within 3 % of those of all,
p99 is within 5 % mostly (``tests/unit/exchange/test_exchange_sampling.py``)."""
END_RATE = 2.5
"""The same for streams that are read to their ends, not only to their first tokens. Times per token differ less from
each other than times to first tokens: p50 of five minutes is within 5 %, and p95 in 94 windows of 100."""
LIMITED = 4
"""Times as many are observed where a circuit breaker must soon see that answers come late."""
MAX_ROWS = 10_000
"""Rows whose rates are kept."""

_DRAW_BYTES = 6
"""Of the entropy: a float holds as many bits exactly."""
_DRAWS = 256.0**_DRAW_BYTES
_MAX_HALVINGS = 16
_STEPS, _END_STEPS = 1, 4
"""Values that the shares have from each power of two to the next: few, so that the bytes of replies are made once."""

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

    def shares(self, row: Row) -> tuple[float, float]:
        """The shares for a request of the row that comes now: of what is observed, and of what is read to its end."""
        rate = self._rates.get(row)
        if rate is None:
            if len(self._rates) >= MAX_ROWS:
                self._rates.clear()  # most are of policies of old
            rate = self._rates[row] = Rate()
        per_second = rate.note(self._clock())
        share = _share_at(per_second / FULL_RATE, _STEPS)
        return share, (min(share, _share_at(per_second / END_RATE, _END_STEPS)) if row[3] else share)


def _draw(entropy: bytes) -> float:
    """A whole number below ``_DRAWS``."""
    drawn = 0
    for at in range(_DRAW_BYTES):  # compiled, faster than int.from_bytes()
        drawn = drawn << 8 | entropy[at]
    return drawn


def _share_at(times: float, steps: int) -> float:
    """1/times or, since it is one of a few values, up to twice as much, or the root for ``steps`` of two."""
    share, halvings = 1.0, 0
    while times >= 2 and halvings < _MAX_HALVINGS:  # exact, and cheaper than a logarithm
        times, share, halvings = times / 2, share / 2, halvings + 1
    if steps > 1 and 1 < times < 2:
        share *= 0.5 ** (int(log2(times) * steps) / steps)
    return share


def with_sampling(
    mutation: Mutation, decision: Decision, entropy: bytes, shares: AdaptiveShares | None, streamed: bool
) -> Mutation:
    """The mutation, with what was drawn for the request. ``entropy``: its random bytes; ``shares``: None observes all
    where the policy names no share; ``streamed``: a stream is asked for.

    A session of a realtime API is always observed: nobody else counts the answers within it. Streams of a policy in the
    midst of a rollout are read to their ends as often as they are observed, since its guards judge by what was read;
    those of a policy with a circuit breaker, since they are in flight until their ends.
    """
    policy = decision.policy
    if policy is None:
        return mutation
    breaker, fixed = policy.breaker, policy.sampling
    if streamed and breaker is not None:
        mutation = _with_stream_told(mutation)
    share = to_end = 1.0 if fixed is None else fixed
    if fixed is None and shares is not None:
        version = decision.version if policy.versions else ""  # else it is the client's own text
        share, to_end = shares.shares((decision.pattern, version, decision.pool, streamed))
        if breaker is not None:
            share = to_end = min(1.0, LIMITED * share)
        elif policy.rollout_state is not None and policy.rollout_state.phase not in ENDED:
            to_end = share
    if to_end == 1 or (decision.request.api, decision.request.operation) in SESSIONS:
        return mutation
    drawn = _draw(entropy)
    if drawn >= share * _DRAWS:
        share = to_end = 0.0
    elif drawn >= to_end * _DRAWS:
        to_end = 0.0
    return _marked(mutation, share, to_end)


@lru_cache(maxsize=4096)
def _with_stream_told(mutation: Mutation) -> Mutation:
    return msgspec.structs.replace(mutation, metadata=(*mutation.metadata, (STREAMED, "true")))


@lru_cache(maxsize=4096)
def _marked(mutation: Mutation, share: float, to_end: float) -> Mutation:
    """Cached, as the mutation is, so that its bytes are made once. 0: it is left out."""
    told = [(OBSERVE, repr(share) if share else LEFT_OUT)] if share < 1 else []
    if to_end < share:
        told.append((OBSERVE_TO_END, repr(to_end) if to_end else LEFT_OUT))
    return msgspec.structs.replace(mutation, metadata=(*mutation.metadata, *told))


def end_share_told(metadata: Mapping[str, str]) -> float:
    """The share of which an answer was drawn to be read to its end; 0 where it was not."""
    return _told(metadata, OBSERVE_TO_END) if OBSERVE_TO_END in metadata else share_told(metadata)


def share_told(metadata: Mapping[str, str]) -> float:
    """The share of which an answer was drawn; 0 for one that is left out, and 1 where nothing sensible is told."""
    return _told(metadata, OBSERVE)


def _told(metadata: Mapping[str, str], key: str) -> float:
    told = metadata.get(key)
    if told is None:
        return 1.0
    try:
        share = float(told)
    except ValueError:
        return 1.0
    return share if 0 <= share <= 1 else 1.0

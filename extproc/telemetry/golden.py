"""Golden metrics: what is counted of finished exchanges, and what it comes to.

Counts add up whatever they were made by: a worker, a replica, a stretch of time. Rates and quantiles come last.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from extproc.envoy.actions import Observed
from extproc.telemetry.histogram import Histogram
from extproc.telemetry.metrics import DURATION_BUCKETS, FIRST_TOKEN_BUCKETS, PER_TOKEN_BUCKETS

_BROKEN = ("error_in_stream", "cut_short")
"""Failures of the model server's that no status tells."""
_DRAWN = ("weight", "sticky")
"""How a version is chosen where the weights choose it."""


def failed(observed: Observed) -> bool:
    """The service did: not a client that asks wrongly (4xx) or leaves (0)."""
    return observed.code.startswith("5") or observed.error in _BROKEN


class Counts(msgspec.Struct, array_like=True):
    """Of exchanges that have something in common."""

    requests: int = 0
    failures: int = 0
    drawn: int = 0
    """Those whose version was chosen by weight: what a canary's share is held against."""
    output_tokens: int = 0
    duration: Histogram = msgspec.field(default_factory=lambda: Histogram(DURATION_BUCKETS))
    first_token: Histogram | None = None
    """None, here and below: nothing was streamed."""
    per_token: Histogram | None = None

    def note(self, observed: Observed) -> None:
        """Counts one more."""
        self.requests += 1
        self.failures += failed(observed)
        self.drawn += observed.cohort in _DRAWN
        if observed.seconds is not None:
            self.duration.observe(observed.seconds)
        if observed.first_token is not None:
            self.first_token = self.first_token or Histogram(FIRST_TOKEN_BUCKETS)
            self.first_token.observe(observed.first_token)
        if observed.per_token is not None:
            self.per_token = self.per_token or Histogram(PER_TOKEN_BUCKETS)
            self.per_token.observe(observed.per_token)
        if observed.output_tokens:
            self.output_tokens += observed.output_tokens

    def add(self, other: Counts) -> None:
        """Counts what ``other`` has counted. Raises ``ValueError`` where its buckets are not ours."""
        theirs = (other.duration, other.first_token, other.per_token)
        for ours, more in zip((self.duration, self.first_token, self.per_token), theirs, strict=True):
            if ours is not None and more is not None and ours.bounds != more.bounds:
                raise ValueError("its histograms have other buckets than ours")
        self.requests += other.requests
        self.failures += other.failures
        self.drawn += other.drawn
        self.output_tokens += other.output_tokens
        self.duration.add(other.duration)
        self.first_token = _sum(self.first_token, other.first_token)
        self.per_token = _sum(self.per_token, other.per_token)


class Golden(msgspec.Struct, frozen=True):
    """What counts come to. None: there was nothing to tell it from; no traffic is not all well."""

    requests: int
    success: float | None
    """Share of requests that the service did not fail, between 0 and 1."""
    rps: float
    p50_ms: float | None
    """Milliseconds, here and below."""
    p95_ms: float | None
    p99_ms: float | None
    ttft_p50_ms: float | None
    """Time to first token, of answers that came as a stream."""
    ttft_p95_ms: float | None
    tpot_p50_ms: float | None
    """Time per output token."""
    tpot_p95_ms: float | None
    tokens_per_second: float | None
    """Output tokens, of all answers together."""


def golden(counts: Counts, seconds: float) -> Golden:
    """The metrics of what was counted in so many seconds."""
    return Golden(
        counts.requests,
        1 - counts.failures / counts.requests if counts.requests else None,
        counts.requests / seconds,
        _ms(counts.duration, 0.5),
        _ms(counts.duration, 0.95),
        _ms(counts.duration, 0.99),
        _ms(counts.first_token, 0.5),
        _ms(counts.first_token, 0.95),
        _ms(counts.per_token, 0.5),
        _ms(counts.per_token, 0.95),
        counts.output_tokens / seconds if counts.output_tokens else None,
    )


def quantile(q: float, bounds: Sequence[float], counts: Sequence[int]) -> float | None:
    """The ``q``-quantile (0 to 1) of a histogram as Prometheus' ``histogram_quantile`` has it; None of nothing.

    ``bounds`` are the buckets' inclusive upper ones, positive, in ascending order; ``counts`` has one more, of what is
    above them all. Within a bucket values are taken to be spread evenly; what is above the last bound counts as that.
    """
    total = sum(counts)
    if not total or not bounds:
        return None
    rank, below = q * total, 0
    for at, bound in enumerate(bounds):
        here = counts[at]
        if here and below + here >= rank:
            low = bounds[at - 1] if at else 0.0
            return low + (bound - low) * (rank - below) / here
        below += here
    return float(bounds[-1])


def _ms(histogram: Histogram | None, q: float) -> float | None:
    found = None if histogram is None else quantile(q, histogram.bounds, histogram.counts)
    return None if found is None else round(found * 1000, 3)


def _sum(ours: Histogram | None, theirs: Histogram | None) -> Histogram | None:
    """``ours``, with what ``theirs`` has counted; ``theirs`` stays as it is."""
    if theirs is None:
        return ours
    if ours is None:
        return Histogram(theirs.bounds, list(theirs.counts), theirs.sum)
    ours.add(theirs)
    return ours

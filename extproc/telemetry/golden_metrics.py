"""Golden metrics: counts of finished exchanges, and the rates and quantiles computed from them.

Counts of several workers, replicas or times can be added; rates and quantiles are computed from the sum.
"""

from __future__ import annotations

import msgspec

from extproc.exchange.notes import FAILED_AFTER_STATUS, Observed, RequestAccount
from extproc.telemetry.histogram import Histogram, quantile
from extproc.telemetry.metric_families import DURATION_BUCKETS, FIRST_TOKEN_BUCKETS, PER_TOKEN_BUCKETS

_WEIGHTED_COHORTS = ("weight", "sticky")
"""Cohorts in which the weights choose the version."""


def is_failure(observed: Observed) -> bool:
    """Whether the service failed. A wrong request (4xx) or a client that left (status 0) is no failure."""
    return _is_failure(observed.code, observed.error)


def _is_failure(code: str, error: str) -> bool:
    return code.startswith("5") or error in FAILED_AFTER_STATUS


class Counts(msgspec.Struct, array_like=True):
    """Counts and histograms of some exchanges."""

    requests: int = 0
    failures: float = 0
    drawn: int = 0
    """Requests whose version the weights chose: those that a canary's share is computed from."""
    output_tokens: float = 0
    duration: Histogram = msgspec.field(default_factory=lambda: Histogram(DURATION_BUCKETS))
    first_token: Histogram | None = None
    """None, here and below: no answer was streamed."""
    per_token: Histogram | None = None
    observed: int = 0
    """Answers that were read to their ends: all, or a sample that stands for all."""
    refusals: dict[str, int] = msgspec.field(default_factory=dict)
    """Requests that the processor refused (``notes.REFUSALS``), by the code of the error."""

    def note(self, observed: Observed) -> None:
        """Counts an exchange; of an accounted one what the account does not have, for all that it stands for."""
        self.observed += not observed.left
        times = observed.stands_for
        if observed.accounted:
            self.failures += times * (observed.error in FAILED_AFTER_STATUS)
        else:
            self._request(observed, observed.error)
        if observed.first_token is not None:
            self.first_token = self.first_token or Histogram(FIRST_TOKEN_BUCKETS)
            self.first_token.observe(observed.first_token, observed.first_token_stands_for)
        if observed.per_token is not None:
            self.per_token = self.per_token or Histogram(PER_TOKEN_BUCKETS)
            self.per_token.observe(observed.per_token, times)
        if observed.output_tokens:
            self.output_tokens += observed.output_tokens * times

    def account(self, account: RequestAccount) -> None:
        """Counts a request by Envoy's account of it."""
        self._request(account, account.failure)
        if account.refusal:
            self.refusals[account.refusal] = self.refusals.get(account.refusal, 0) + 1

    def _request(self, note: Observed | RequestAccount, error: str) -> None:
        self.requests += 1
        self.failures += _is_failure(note.code, error)
        self.drawn += note.cohort in _WEIGHTED_COHORTS
        if note.seconds is not None:
            self.duration.observe(note.seconds)

    def add(self, other: Counts) -> None:
        """Adds ``other``. Raises ``ValueError`` where its buckets differ."""
        theirs = (other.duration, other.first_token, other.per_token)
        for ours, more in zip((self.duration, self.first_token, self.per_token), theirs, strict=True):
            if ours is not None and more is not None and ours.bounds != more.bounds:
                raise ValueError("its histograms have other buckets than ours")
        # Another thread may be counting: a request is counted before its refusal, and is read behind it.
        for code, count in list(other.refusals.items()):
            self.refusals[code] = self.refusals.get(code, 0) + count
        self.requests += other.requests
        self.failures += other.failures
        self.drawn += other.drawn
        self.output_tokens += other.output_tokens
        self.duration.add(other.duration)
        self.first_token = _sum(self.first_token, other.first_token)
        self.per_token = _sum(self.per_token, other.per_token)
        self.observed += other.observed


class GoldenMetrics(msgspec.Struct, frozen=True):
    """The metrics of some exchanges. None: no exchange to compute it from."""

    requests: int
    success: float | None
    """Share of requests that are no failures, 0 to 1."""
    refused: float | None
    """Share of requests that the processor refused, 0 to 1, by Envoy's access log. A 429 of a server's is none."""
    refusals: dict[str, int]
    """The same requests, by the code of the error."""
    rps: float
    p50_ms: float | None
    """Milliseconds, here and below."""
    p95_ms: float | None
    p99_ms: float | None
    ttft_p50_ms: float | None
    """Time to first token of streamed answers."""
    ttft_p95_ms: float | None
    tpot_p50_ms: float | None
    """Time per output token of streamed answers."""
    tpot_p95_ms: float | None
    tokens_per_second: float | None
    """Output tokens of all answers together."""
    observed: float | None
    """Share of the requests whose answers were read, 0 to 1. Where it is less than 1, times of tokens, tokens, and
    failures that only answers tell of are estimates."""


def compute_golden_metrics(counts: Counts, seconds: float) -> GoldenMetrics:
    """The metrics of ``counts``, taken over ``seconds``."""
    return GoldenMetrics(
        counts.requests,
        max(0.0, 1 - counts.failures / counts.requests) if counts.requests else None,
        sum(counts.refusals.values()) / counts.requests if counts.requests else None,
        counts.refusals,
        counts.requests / seconds,
        _ms(counts.duration, 0.5),
        _ms(counts.duration, 0.95),
        _ms(counts.duration, 0.99),
        _ms(counts.first_token, 0.5),
        _ms(counts.first_token, 0.95),
        _ms(counts.per_token, 0.5),
        _ms(counts.per_token, 0.95),
        counts.output_tokens / seconds if counts.output_tokens else None,
        min(1.0, counts.observed / counts.requests) if counts.requests else None,
    )


def _ms(histogram: Histogram | None, q: float) -> float | None:
    seconds = None if histogram is None else quantile(q, histogram.bounds, histogram.counts)
    return None if seconds is None else round(seconds * 1000, 3)


def _sum(ours: Histogram | None, theirs: Histogram | None) -> Histogram | None:
    """``ours`` with ``theirs`` added. ``theirs`` is not changed."""
    if theirs is None:
        return ours
    if ours is None:
        return Histogram(theirs.bounds, list(theirs.counts), theirs.sum)
    ours.add(theirs)
    return ours

"""Lint rules: rate limits that the admission webhook refuses."""

from __future__ import annotations

from collections.abc import Iterator

from extproc.lint.findings import Finding, Rule
from linkerd_adapter.lint.objects import POLICY, Given

RATE_LIMIT = Rule(
    "LNK511",
    "error",
    "the target of an HTTPLocalRateLimitPolicy is no Server",
    "Rates are limited where requests arrive; the admission webhook refuses any other target.",
    f"target a Server (group `{POLICY}`)",
)
RULES = (RATE_LIMIT,)


def check(given: Given) -> Iterator[Finding]:
    """Every HTTPLocalRateLimitPolicy."""
    for limit in given.of("HTTPLocalRateLimitPolicy", POLICY):
        limited = limit.spec.at("targetRef")
        if limited and (limited.at("group").text, limited.at("kind").text) != (POLICY, "Server"):
            yield limited.breaks(RATE_LIMIT)

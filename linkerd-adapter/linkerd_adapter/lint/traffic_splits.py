"""Lint rules: TrafficSplits, which mask routes."""

from __future__ import annotations

from collections.abc import Iterator

from extproc.lint.findings import Finding, Rule
from linkerd_adapter.lint.objects import Given

SPLIT = Rule(
    "LNK506",
    "error",
    "a TrafficSplit masks the routes of a Service",
    "The SMI adapter makes a ServiceProfile of it, and that masks HTTPRoutes and GRPCRoutes.",
    "delete the TrafficSplit, and write its weights into the HTTPRoute",
)
RULES = (SPLIT,)


def check(given: Given) -> Iterator[Finding]:
    """Every TrafficSplit."""
    for split in given.of("TrafficSplit", "split.smi-spec.io"):
        apex = split.spec.at("service")
        if apex and given.is_parent((split.namespace, apex.text.partition(".")[0])):
            yield apex.breaks(SPLIT)

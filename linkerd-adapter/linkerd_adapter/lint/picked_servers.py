"""Lint rules: servers that a policy has picked, which Linkerd's proxies do not look for."""

from __future__ import annotations

from collections.abc import Iterator

from extproc.lint.findings import Finding, Rule
from linkerd_adapter.lint.objects import Given

PICKED = Rule(
    "LNK412",
    "warning",
    "a policy picks servers, and Linkerd's proxies choose by themselves",
    "They do not look at `x-gateway-destination-endpoint`: a Service's requests are spread by the latency of its pods, "
    "and prompts reach servers that have not cached them. What is refused while servers are busy still is.",
    "let a meshed gateway of `extproc render envoy` call the pods by their addresses (docs/picking.md), or leave "
    "picking out",
)
RULES = (PICKED,)


def check(given: Given) -> Iterator[Finding]:
    """Every ModelInferencePolicy."""
    for policy in given.of("ModelInferencePolicy", "ai.istio.io"):
        if picking := policy.spec.at("picking"):
            yield picking.breaks(PICKED)

"""Lint rules: GRPCRoutes that turn HTTPRoutes off, or make a Service fail."""

from __future__ import annotations

from collections.abc import Iterator

from extproc.lint.findings import Finding, Rule
from linkerd_adapter.lint.objects import Given

BESIDE_GRPC = Rule(
    "LNK504",
    "error",
    "an HTTPRoute and a GRPCRoute are on the same Service and port",
    "Any GRPCRoute turns the HTTPRoutes off, and requests by HTTP/1.1 are reset; theirs is the status "
    "`RouteReasonConflicted`.",
    "route all by HTTPRoutes (they route gRPC, too: by path and headers), or put gRPC on a port of its own",
)
HEADER_ONLY = Rule(
    "LNK209",
    "error",
    "a GRPCRoute matches by headers only",
    "Linkerd's proxy refuses the whole policy of the Service: every call to it fails (linkerd2#14047).",
    "write `method.service` into the match, or use an HTTPRoute, which routes gRPC, too",
)
RULES = (HEADER_ONLY, BESIDE_GRPC)


def check(given: Given) -> Iterator[Finding]:
    """Every GRPCRoute of a Service."""
    for routes in given.targets.values():
        if any(route.grpc for route in routes):
            yield from (route.resource.root.breaks(BESIDE_GRPC) for route in routes if not route.grpc)
    for match in (m for r in given.routes if r.grpc for rule in r.rules for m in rule.at("matches").items):
        if match.at("headers") and not match.at("method"):
            yield match.breaks(HEADER_ONLY)

"""DestinationRule: balancing, ejection and failover that do not happen."""

from __future__ import annotations

from collections.abc import Iterator

from extproc.lint.findings import Finding, Rule
from extproc.lint.manifest import Value
from extproc.lint.mesh import Mesh

LEAST_CONN = Rule(
    "AIM301",
    "warning",
    "`LEAST_CONN` is deprecated",
    "It means LEAST_REQUEST, until it goes.",
    "write LEAST_REQUEST",
)
GATEWAY_ERRORS = Rule(
    "AIM302",
    "error",
    "`consecutiveGatewayErrors` never counts",
    "Gateway errors are 5xx errors too: with a limit that is not below `consecutive5xxErrors` the other one always "
    "comes first.",
    "make consecutiveGatewayErrors smaller than consecutive5xxErrors (5 where it isn't written; 0 switches it off)",
)
NO_FAILOVER = Rule(
    "AIM303",
    "error",
    "locality failover without `outlierDetection`",
    "Without it Envoy does not know that endpoints of a locality or tier are bad, and never leaves it.",
    "add outlierDetection beside loadBalancer",
)
HASH_AND_FAILOVER = Rule(
    "AIM304",
    "warning",
    "`consistentHash` with `failoverPriority`",
    "When endpoints change tiers the hash ring is built anew: the sessions that it is for move.",
    "choose one of them",
)
LINKERD_BUDGET = Rule(
    "AIM305",
    "error",
    "Linkerd's names in a retry budget",
    "`retryRatio` and `minRetriesPerSecond` (Linkerd's) mean nothing to Istio, which drops unknown fields.",
    "write trafficPolicy.retryBudget: {percent: 25, minRetryConcurrency: 10} (Istio 1.27)",
)
HARDWARE_SUBSETS = Rule(
    "AIM306",
    "warning",
    "GPU and CPU as subsets",
    "Subsets never fail over to each other: with no GPU left, requests to that subset get 503 while CPUs idle.",
    'one subset, with localityLbSetting: {failoverPriority: ["accelerator=nvidia-gpu"]} and outlierDetection: GPUs '
    "first, then CPUs",
)
OPAQUE = Rule(
    "AIM307",
    "error",
    "HTTP settings for opaque TLS",
    "The ServiceEntry's port is HTTPS or TLS: Envoy sees bytes. HTTP connection pools, ejection by 5xx and header "
    "hashes do nothing.",
    "in the ServiceEntry write protocol: HTTP and targetPort: 443, here trafficPolicy.tls.mode: SIMPLE",
)
RULES = (LEAST_CONN, GATEWAY_ERRORS, NO_FAILOVER, HASH_AND_FAILOVER, LINKERD_BUDGET, HARDWARE_SUBSETS, OPAQUE)

_HARDWARE = ("accelerator", "gpu", "nvidia.com/gpu", "hardware")
_HTTP_ONLY = (
    ("connectionPool", "http"),
    ("outlierDetection", "consecutive5xxErrors"),
    ("outlierDetection", "consecutiveGatewayErrors"),
    ("loadBalancer", "consistentHash", "httpHeaderName"),
    ("loadBalancer", "consistentHash", "httpCookie"),
)


def check(mesh: Mesh) -> Iterator[Finding]:
    """Every DestinationRule: its own policy and those of its subsets and ports."""
    for rule in mesh.of("DestinationRule"):
        whole = rule.spec.at("trafficPolicy")
        subsets = rule.spec.at("subsets").items
        for holder in (rule.spec, *subsets):
            policy = holder.at("trafficPolicy")
            for part in (policy, *policy.at("portLevelSettings").items):
                yield from _policy(part, whole)
        yield from _hardware(subsets, whole)
        host = rule.spec.at("host").text
        for entry in mesh.of("ServiceEntry"):
            hosts = [h.text for h in entry.spec.at("hosts").items]
            if not any(name == host or (host.startswith("*.") and name.endswith(host[1:])) for name in hosts):
                continue
            protocols = [p.at("protocol").text.upper() for p in entry.spec.at("ports").items]
            if protocols and all(p in ("HTTPS", "TLS") for p in protocols):
                for steps in _HTTP_ONLY:
                    if useless := whole.at(*steps):
                        message = f"the ports of {entry.name} ({entry.place}) are {protocols[0]}: this does nothing"
                        yield useless.breaks(OPAQUE, message)


def _policy(policy: Value, whole: Value) -> Iterator[Finding]:
    balancer, ejection = policy.at("loadBalancer"), policy.at("outlierDetection")
    if balancer.at("simple").text == "LEAST_CONN":
        yield balancer.at("simple").breaks(LEAST_CONN)
    gateway, errors = ejection.at("consecutiveGatewayErrors"), ejection.at("consecutive5xxErrors")
    limit = errors.number if errors else 5.0
    if gateway.number and limit and gateway.number >= limit:
        yield gateway.breaks(GATEWAY_ERRORS, f"{gateway.text} gateway errors never come before {limit:g} 5xx errors")
    locality = balancer.at("localityLbSetting")
    moves = locality.at("failover") or locality.at("failoverPriority")
    if moves and not ejection and not whole.at("outlierDetection"):
        yield moves.breaks(NO_FAILOVER)
    if balancer.at("consistentHash") and locality.at("failoverPriority"):
        yield balancer.at("consistentHash").breaks(HASH_AND_FAILOVER)
    for name, key in policy.at("retryBudget").named():
        if name in ("retryRatio", "minRetriesPerSecond", "ttl"):
            yield key.breaks(LINKERD_BUDGET)


def _hardware(subsets: list[Value], whole: Value) -> Iterator[Finding]:
    """Subsets that differ by hardware, one of them without any."""
    if whole.at("loadBalancer", "localityLbSetting", "failoverPriority"):
        return
    for label in _HARDWARE:
        values = {s.at("labels", label).text.lower() for s in subsets} - {""}
        if len(values) > 1 and values & {"cpu", "none", "false"}:
            yield subsets[0].at("labels", label).breaks(HARDWARE_SUBSETS)

"""DestinationRules: subsets, limits, outlier detection, retry budgets.

Limits and outlier detection are those of ``render.envoy.clusters``.
"""

from __future__ import annotations

from collections.abc import Sequence

from extproc.policy.load_balancer import CONSISTENT_HASH, LoadBalancer
from extproc.policy.snapshot import Policy, Snapshot
from extproc.render.document import Doc
from extproc.render.envoy.clusters import MAX_REQUESTS, UPSTREAM_IDLE_TIMEOUT, retry_budget
from extproc.render.envoy.failover import failover_budget
from extproc.render.istio.destinations import Destination, destinations
from extproc.render.istio.istio_options import (
    VERSION_LABEL,
    IstioOptions,
    host_slug,
    manifest,
    namespace,
)
from extproc.render.istio.upstreams import client_tls

DESTINATION_RULE = "DestinationRule", "networking.istio.io/v1"
STAND_IN_EJECTION = 5
"""Seconds for which a server is ejected where other pools stand in for its own."""


def destination_rules(snapshot: Snapshot, options: IstioOptions) -> list[Doc]:
    """One for each host that a route may lead to."""
    by_host: dict[str, list[tuple[Destination, Doc]]] = {}
    for grpc in (False, True):
        for target, destination in destinations(snapshot, options, grpc=grpc).items():
            by_host.setdefault(destination.host, []).append((destination, client_tls(target, grpc=grpc)))
    return [_rule(host, found, snapshot, options) for host, found in by_host.items()]


def _rule(host: str, found: Sequence[tuple[Destination, Doc]], snapshot: Snapshot, options: IstioOptions) -> Doc:
    """``found``: the destinations of the host, each with the part of its traffic policy that is of TLS."""
    owner = snapshot.by_name[found[0][0].target.policy]
    traffic = _traffic(owner, options)
    whole = [(destination.target, tls) for destination, tls in found if not destination.subset]
    picks = any(snapshot.by_name[target.policy].picking for target, _ in whole)
    for target, tls in whole:
        traffic |= tls | {"loadBalancer": _balancing(target.load_balancer) | _locality(picks=picks)}
    subsets = {
        destination.subset: _subset(destination, tls, owner, traffic["loadBalancer"], snapshot, options)
        for destination, tls in found
        if destination.subset
    }
    spec: Doc = {"host": host, "trafficPolicy": traffic}
    if subsets:
        spec["subsets"] = list(subsets.values())
    name = f"aimesh-{host_slug(host)}"
    return manifest(*DESTINATION_RULE, name, namespace(owner, options), spec)


def _traffic(policy: Policy, options: IstioOptions) -> Doc:
    return {
        "connectionPool": {
            # Above Envoy's default: the model server's own queue is to reject.
            "http": {
                "http1MaxPendingRequests": MAX_REQUESTS,
                "http2MaxRequests": MAX_REQUESTS,
                "idleTimeout": UPSTREAM_IDLE_TIMEOUT,
            },
            "tcp": {
                "maxConnections": MAX_REQUESTS,
                "connectTimeout": "2s",
                "tcpKeepalive": {"time": "60s", "interval": "15s"},
            },
        },
        "loadBalancer": _balancing(policy.load_balancer) | _locality(picks=policy.picking is not None),
        "outlierDetection": _ejection(50, seconds=10, interval=2),
        "retryBudget": _budget(retry_budget(policy), options),
    }


_SIMPLE = {"leastRequest": "LEAST_REQUEST", "roundRobin": "ROUND_ROBIN", "random": "RANDOM"}
"""Istio's words."""


def _balancing(balancer: LoadBalancer) -> Doc:
    if balancer.by == CONSISTENT_HASH:
        return {"consistentHash": {"httpHeaderName": balancer.header, "maglev": {}}}
    return {"simple": _SIMPLE[balancer.by]}


def _locality(*, picks: bool) -> Doc:
    """Where servers are picked: no failover to other localities, whatever the mesh or the Service says. With it Envoy
    refuses the load balancing policy of ``picked_servers``.
    """
    return {"localityLbSetting": {"enabled": False}} if picks else {}


def _ejection(max_percent: int, *, seconds: int, interval: int) -> Doc:
    """Ejects a server for ``seconds`` when it can't be reached, or answers 502, 503 or 504 five times in a row; other
    5xx are often caused by the request. Envoy looks every ``interval`` seconds whether an ejection has ended. At most
    ``max_percent`` of the servers are ejected at a time.
    """
    return {
        "consecutive5xxErrors": 0,
        "consecutiveGatewayErrors": 5,
        "splitExternalLocalOriginErrors": True,
        "consecutiveLocalOriginFailures": 1,
        "interval": f"{interval}s",
        "baseEjectionTime": f"{seconds}s",
        "maxEjectionPercent": max_percent,
    }


def _budget(budget: Doc, options: IstioOptions) -> Doc:
    """Istio's retry budget: over ten seconds, as Linkerd's, from 1.31 on; before, over active requests."""
    interval = {"budgetInterval": "10s"} if options.since("1.31") else {}
    percent = budget["budget_percent"]["value"]
    return {"percent": percent, "minRetryConcurrency": budget["min_retry_concurrency"], **interval}


def _subset(
    destination: Destination, tls: Doc, owner: Policy, inherited: Doc, snapshot: Snapshot, options: IstioOptions
) -> Doc:
    """The subset of a version on a pool. Where others stand in for the pool it has all endpoints of the version, and
    those of the pool have priority: the others get requests when it has no healthy one. ``inherited``: how its host
    balances.
    """
    policy = snapshot.by_name[destination.target.policy]
    labels, traffic = destination.labels, dict(tls)
    if policy.retry_budget != owner.retry_budget:
        traffic["retryBudget"] = _budget(retry_budget(policy), options)
    picks = policy.picking is not None
    balancer = destination.target.load_balancer
    balancing = _balancing(balancer) | _locality(picks=picks)
    if balancing != inherited:
        traffic["loadBalancer"] = balancing
    if destination.tiers:
        labels = {VERSION_LABEL: destination.target.version}
        # Istio sets priorities only with outlier detection; a whole priority may be ejected.
        traffic["loadBalancer"] = {
            **_balancing(balancer),
            "localityLbSetting": {"enabled": True, "failoverPriority": list(destination.order)},
        }
        traffic["outlierDetection"] = _ejection(100, seconds=STAND_IN_EJECTION, interval=1)
        if not policy.retry_budget:
            traffic["retryBudget"] = _budget(failover_budget(policy, retry_budget(policy)), options)
    return {"name": destination.subset, "labels": labels, **({"trafficPolicy": traffic} if traffic else {})}

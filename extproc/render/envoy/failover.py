"""Clusters that stand in for each other: a version's pools in several places, by their distance.

A target's aggregate cluster has its own cluster first and those of the version's other pools after it. Envoy goes to
the next where the one before has no healthy server: at once, before the processor has seen it. The gRPC access log,
and so the metrics, name the cluster that answered; Envoy's formatter ``%UPSTREAM_CLUSTER%`` names the aggregate.
"""

from __future__ import annotations

from extproc.policy.snapshot import Policy, Snapshot
from extproc.policy.target import Target
from extproc.render.document import Doc
from extproc.render.envoy.envoy_options import NAMESPACE, typed
from extproc.render.envoy.rewriting import rewriting

_SUFFIX = "#failover"
_POOL = "gpu_pool"
ANSWERING_POOL = f"%UPSTREAM_METADATA({NAMESPACE}:{_POOL})%"
"""Envoy's formatter of the pool of the server that answered, by ``own_cluster``'s metadata."""
_HEALTH_CHECK = {
    "timeout": "1s",
    "interval": "1s",
    "no_traffic_interval": "1s",
    "unhealthy_threshold": 2,
    "healthy_threshold": 1,
    "tcp_health_check": {},
}
"""A connection each second. Without it, a server that is back waits for the end of its ejection."""


def stand_ins(snapshot: Snapshot, target: Target) -> tuple[Target, ...]:
    """The targets that answer while ``target`` can't, the nearest first; none where no place is known, or it is a
    mirror. Requests are rewritten for ``target``, so only those for which they would be rewritten alike.
    """
    tiers = snapshot.tiers[target.policy, target.version]
    policy = snapshot.by_name[target.policy]
    if len(tiers) == 1 or any(version.name == target.version for version in policy.mirrors):
        return ()
    others = (other for tier in tiers for other in tier if other != target)
    return tuple(other for other in others if rewriting(other, grpc=False) == rewriting(target, grpc=False))


def routed_cluster(snapshot: Snapshot, target: Target, name: str) -> str:
    """The cluster to which routes lead for ``target``, whose own is called ``name``."""
    return f"{name}{_SUFFIX}" if stand_ins(snapshot, target) else name


def own_cluster(target: Target, cluster: Doc) -> Doc:
    """The cluster of a target that has stand-ins: all of its servers may be found unhealthy, and tell their pool."""
    for locality in cluster["load_assignment"]["endpoints"]:
        for endpoint in locality["lb_endpoints"]:
            endpoint["metadata"]["filter_metadata"][NAMESPACE][_POOL] = target.pool
    ejection = cluster["outlier_detection"] | {"max_ejection_percent": 100}
    return cluster | {"outlier_detection": ejection, "health_checks": [_HEALTH_CHECK]}


def aggregate(name: str, members: list[str], budget: Doc, limits: Doc) -> Doc:
    """The cluster of a target with that of its stand-ins. ``name``: the target's own."""
    config = typed("envoy.clusters.aggregate", "extensions.clusters.aggregate.v3.ClusterConfig", clusters=members)
    return {
        "name": f"{name}{_SUFFIX}",
        "connect_timeout": "2s",
        "lb_policy": "CLUSTER_PROVIDED",
        "cluster_type": config,
        # A retry is how a request leaves a pool that has just gone: as many as there are requests may have to.
        "circuit_breakers": {"thresholds": [limits | {"retry_budget": budget}]},
    }


def failover_budget(policy: Policy, budget: Doc) -> Doc:
    """The policy's retry budget; where it has none, every request may be retried."""
    return budget if policy.retry_budget else {"budget_percent": {"value": 100.0}, "min_retry_concurrency": 100}


def next_priority() -> Doc:
    """The field of a retry policy that has a retry leave the cluster of an aggregate that has failed."""
    previous = typed(
        "envoy.retry_priorities.previous_priorities",
        "extensions.retry.priority.previous_priorities.v3.PreviousPrioritiesConfig",
        update_frequency=1,
    )
    return {"retry_priority": previous}

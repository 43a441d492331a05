"""Where a policy's targets are in the mesh: host, port and subset of each.

- A target whose endpoint is the policy's own ``host:port`` is a subset of that Service, by the labels of its pods.
- A target whose only endpoint is another Service of the cluster is that Service.
- All other endpoints are in no Service that Istio knows: a ServiceEntry lists them, with the labels that pods have, and
  the target is a subset of its host.
"""

from __future__ import annotations

from collections import Counter

import msgspec

from extproc.policy.snapshot import Policy, Snapshot, Target
from extproc.render.envoy.envoy_options import host_port
from extproc.render.istio.istio_options import (
    DOMAIN,
    POOL_LABEL,
    VERSION_LABEL,
    IstioOptions,
    service_host,
    slug,
)

_CLUSTER = (".svc", ".svc.cluster.local")


class Place(msgspec.Struct, frozen=True):
    """The destination of routes to one target."""

    target: Target
    host: str
    port: int
    subset: str = ""
    """Empty: all endpoints of the host."""

    @property
    def labels(self) -> dict[str, str]:
        """Labels of the target's pods or endpoints."""
        named = ((VERSION_LABEL, self.target.version), (POOL_LABEL, self.target.pool))
        return {label: value for label, value in named if value}

    @property
    def destination(self) -> dict[str, object]:
        """A Destination of a VirtualService."""
        subset = {"subset": self.subset} if self.subset else {}
        return {"host": self.host, **subset, "port": {"number": self.port}}

    @property
    def clusters(self) -> tuple[str, str]:
        """Istio's names of the destination's cluster: in sidecars and gateways, and in waypoints."""
        protocol = f"http/{self.subset}" if self.subset else "http"
        return (
            f"outbound|{self.port}|{self.subset}|{self.host}",
            f"inbound-vip|{self.port}|{protocol}|{self.host}",
        )


def entry_host(policy: Policy) -> str:
    """Host of the ServiceEntry for the endpoints that ``policy`` lists."""
    return f"{slug(policy.name)}.{DOMAIN}"


def targets(snapshot: Snapshot, policy: Policy) -> list[Target]:
    """Every target of ``policy``."""
    return [t for (owner, _), found in snapshot.targets.items() if owner == policy.name for t in found]


def places(snapshot: Snapshot, options: IstioOptions) -> dict[Target, Place]:
    """The place of every target. Names of subsets are unique on their host."""
    policies = Counter(service_host(policy, options) for policy in snapshot.policies)
    found = {
        target: _place(policy, target, options, shared=policies[service_host(policy, options)] > 1)
        for policy in snapshot.policies
        for target in targets(snapshot, policy)
    }
    # Such as a-b-c, for version a-b on pool c and for version a on pool b-c.
    names = Counter((place.host, place.subset) for place in found.values())
    return {target: _distinct(p) if p.subset and names[p.host, p.subset] > 1 else p for target, p in found.items()}


def targets_by_cluster(snapshot: Snapshot, options: IstioOptions) -> dict[str, tuple[Target, ...]]:
    """The targets by Istio's names of their clusters. Targets that are one Service are one cluster."""
    found: dict[str, tuple[Target, ...]] = {}
    for target, place in places(snapshot, options).items():
        for cluster in place.clusters:
            found[cluster] = (*found.get(cluster, ()), target)
    return found


def _place(policy: Policy, target: Target, options: IstioOptions, *, shared: bool) -> Place:
    named = target.version or target.pool
    if target.endpoints == (f"{policy.host}:{policy.port}",):
        subset = slug(policy.name if shared else "", target.version, target.pool) if named else ""
        return Place(target, service_host(policy, options), policy.port, subset)
    host, port = host_port(target.endpoints[0])
    if len(target.endpoints) == 1 and host.endswith(_CLUSTER):
        return Place(target, f"{host.removesuffix('.cluster.local')}.cluster.local", port)
    return Place(target, entry_host(policy), policy.port, slug(target.version, target.pool) if named else "")


def _distinct(place: Place) -> Place:
    target = place.target
    return msgspec.structs.replace(place, subset=slug(target.policy, target.version, target.pool, digested=True))

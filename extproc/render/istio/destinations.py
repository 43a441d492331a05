"""Where a policy's targets are in the mesh: host, port and subset of each.

- A target whose endpoint is the policy's own ``host:port`` (for gRPC: on any port) is a subset of that Service, by the
  labels of its pods.
- A target whose only endpoint is another Service of the cluster is that Service.
- All other endpoints, and all behind TLS of their own, are in no Service that Istio knows: a ServiceEntry lists them,
  with the labels that pods have, and the target is a subset of its host.

Where gRPC has endpoints of its own (``grpcEndpoints``), its calls have a destination of their own, found likewise.
"""

from __future__ import annotations

from collections import Counter

import msgspec

from extproc.policy.locality import by_distance
from extproc.policy.snapshot import Policy, Snapshot
from extproc.policy.target import Target
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


class Destination(msgspec.Struct, frozen=True):
    """Where routes to one target lead."""

    target: Target
    endpoints: tuple[str, ...]
    """Those of the target that get the requests."""
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
    def reference(self) -> dict[str, object]:
        """As a VirtualService refers to it."""
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


def entry_host(policy: Policy, *, grpc: bool) -> str:
    """Host of the ServiceEntry for the endpoints that ``policy`` lists; ``grpc``: for those of gRPC alone."""
    return f"{'grpc.' * grpc}{slug(policy.name)}.{DOMAIN}"


def targets(snapshot: Snapshot) -> dict[str, list[Target]]:
    """Every target of each policy, by its name."""
    found: dict[str, list[Target]] = {policy.name: [] for policy in snapshot.policies}
    for (owner, _), served in snapshot.targets.items():
        found[owner] += served
    return found


def destinations(snapshot: Snapshot, options: IstioOptions, *, grpc: bool) -> dict[Target, Destination]:
    """The destination of every target, for calls of gRPC or for all other requests. Names of subsets are unique on
    their host.
    """
    policies = Counter(service_host(policy, options) for policy in snapshot.policies)
    by_policy = targets(snapshot)
    found = {
        target: _destination(policy, target, options, shared=policies[service_host(policy, options)] > 1, grpc=grpc)
        for policy in snapshot.policies
        for target in by_policy[policy.name]
    }
    # Such as a-b-c, for version a-b on pool c and for version a on pool b-c.
    names = Counter((destination.host, destination.subset) for destination in found.values())
    return {target: _distinct(p) if p.subset and names[p.host, p.subset] > 1 else p for target, p in found.items()}


def targets_by_cluster(snapshot: Snapshot, options: IstioOptions) -> dict[str, tuple[Target, ...]]:
    """The targets by Istio's names of their clusters. Targets that are one Service are one cluster."""
    found: dict[str, dict[Target, None]] = {}
    for grpc in (False, True):
        for target, destination in destinations(snapshot, options, grpc=grpc).items():
            for cluster in destination.clusters:
                found.setdefault(cluster, {})[target] = None
    return {cluster: tuple(reached) for cluster, reached in found.items()}


def apex_ports(snapshot: Snapshot, options: IstioOptions) -> dict[str, list[int]]:
    """By each policy's name the ports of its Service that clients call: its own, and those on which it has gRPC."""
    found = {policy.name: {policy.port: None} for policy in snapshot.policies}
    for target, destination in destinations(snapshot, options, grpc=True).items():
        if destination.host == service_host(snapshot.by_name[target.policy], options):
            found[target.policy][destination.port] = None
    return {name: list(ports) for name, ports in found.items()}


def stand_in_tiers(destination: Destination, snapshot: Snapshot) -> int:
    """At how many distances from this pool others of the version answer while it can't: with ``onNoGpu: ignore``, and
    where pools are in several places. 0 where none does, or the processor picks, which passes over a pool that is down
    by itself.
    """
    target = destination.target
    policy = snapshot.by_name[target.policy]
    if policy.picking is not None or not (destination.subset and target.pool and target.version):
        return 0
    if not stands_elsewhere_too(destination, snapshot):
        return 0 if policy.reject_without_gpu else 1
    others = [each for each in snapshot.targets[target.policy, target.version] if each != target]
    return len(by_distance(others, snapshot.pool_by_name[target.pool].locality, snapshot.pool_by_name))


def stands_elsewhere_too(destination: Destination, snapshot: Snapshot) -> bool:
    """Whether pools in other places may stand in for this one: those of a ServiceEntry, which has nothing but the
    policy's own targets, and whose servers are all spoken to alike.
    """
    target = destination.target
    found = snapshot.targets[target.policy, target.version]
    places = {pool.locality for t in found if (pool := snapshot.pool_by_name.get(t.pool))} - {""}
    alike = {(t.upstream, t.server_names(grpc=False), t.server_names(grpc=True)) for t in found}
    entries = [entry_host(snapshot.by_name[target.policy], grpc=grpc) for grpc in (False, True)]
    return destination.host in entries and len(places) > 1 and len(alike) == 1


def _destination(policy: Policy, target: Target, options: IstioOptions, *, shared: bool, grpc: bool) -> Destination:
    named = target.version or target.pool
    tls = target.upstream.tls is not None
    grpc = grpc and (tls or bool(target.grpc_endpoints))  # behind TLS too, HTTP/2 is chosen by the port's protocol
    servers = target.servers(grpc=grpc)
    own = servers == (f"{policy.host}:{policy.port}",)
    host, port = (policy.host, policy.port) if own else host_port(servers[0])
    if len(servers) == 1 and not tls:
        service, apex = service_host(msgspec.structs.replace(policy, host=host), options), service_host(policy, options)
        if own or (grpc and service == apex):
            subset = slug(policy.name if shared else "", target.version, target.pool) if named else ""
            return Destination(target, servers, apex, port, subset)
        if host.endswith(_CLUSTER):
            return Destination(target, servers, f"{host.removesuffix('.cluster.local')}.cluster.local", port)
    subset = slug(target.version, target.pool) if named else ""
    return Destination(target, servers, entry_host(policy, grpc=grpc), policy.port, subset)


def _distinct(destination: Destination) -> Destination:
    target = destination.target
    return msgspec.structs.replace(destination, subset=slug(target.policy, target.version, target.pool, digested=True))

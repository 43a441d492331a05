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
from collections.abc import Mapping, Sequence
from itertools import takewhile
from typing import TypeAlias

import msgspec
from msgspec.structs import replace

from extproc.policy.snapshot import Policy, Snapshot
from extproc.policy.target import Target
from extproc.render.envoy.envoy_options import host_port, is_ip
from extproc.render.istio.istio_options import (
    DOMAIN,
    POOL_LABEL,
    VERSION_LABEL,
    IstioOptions,
    service_host,
    slug,
)

_CLUSTER = (".svc", ".svc.cluster.local")
_PLACES = "topology.kubernetes.io/region", "topology.kubernetes.io/zone", "topology.istio.io/subzone"
"""Labels that istiod makes of the parts of a locality."""


class Destination(msgspec.Struct, frozen=True):
    """Where routes to one target lead."""

    target: Target
    endpoints: tuple[str, ...]
    """Those of the target that get the requests."""
    host: str
    port: int
    subset: str = ""
    """Empty: all endpoints of the host."""
    order: tuple[str, ...] = ()
    """``failoverPriority``: the pool's own endpoints, then those of its zone, of its region, and all others of the
    version, which answer while the pool can't. Empty: none do.
    """
    tiers: int = 0
    """At how many distances these others are."""

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
    found = {target: _distinct(p) if p.subset and names[p.host, p.subset] > 1 else p for target, p in found.items()}
    if not grpc:
        return found | _with_stand_ins(found, snapshot)
    other = destinations(snapshot, options, grpc=False)
    as_others = {target: p for target, p in other.items() if found[target] == replace(p, order=(), tiers=0)}
    return found | _with_stand_ins({t: p for t, p in found.items() if t not in as_others}, snapshot) | as_others


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


def _with_stand_ins(found: Mapping[Target, Destination], snapshot: Snapshot) -> dict[Target, Destination]:
    """Those of ``found`` where others of the version answer while the pool can't: with ``onNoGpu: ignore``, and where
    pools are in several places. None where the processor picks, which passes over a pool that is down by itself.

    Of a Service, whose pods may be of other pools too, under ``ignore`` only. Of a ServiceEntry, which has nothing but
    the policy's own targets, those whose servers are all spoken to alike. There istiod gives no subset priorities where
    names are resolved (``buildSubsetCluster``): each pool then has its own servers alone.
    """
    of_subsets: dict[tuple[str, str, str], list[Destination]] = {}
    for target, destination in found.items():
        if destination.subset and target.pool and target.version and not snapshot.by_name[target.policy].picking:
            of_subsets.setdefault((target.policy, target.version, destination.host), []).append(destination)
    owners = [snapshot.by_name[name] for name, _, _ in of_subsets]
    entries = {entry_host(policy, grpc=grpc) for policy in owners for grpc in (False, True)}
    listed = ((d.host, server) for d in found.values() if d.host in entries for server in d.endpoints)
    resolved = {host for host, server in listed if not is_ip(host_port(server)[0])}
    stood_in: dict[Target, Destination] = {}
    for (name, _, host), alike in of_subsets.items():
        policy = snapshot.by_name[name]
        if host in entries:
            if host not in resolved and len(alike) > 1 and len({_manner(each.target) for each in alike}) == 1:
                stood_in |= _stand_ins_by_place(alike, policy, snapshot)
        elif not policy.reject_without_gpu:
            stood_in |= {each.target: _stood_in(each, (), 1) for each in alike}
    return stood_in


def _manner(target: Target) -> tuple[object, ...]:
    """How its servers are spoken to."""
    return target.upstream, target.server_names(grpc=False), target.server_names(grpc=True)


def _stand_ins_by_place(found: Sequence[Destination], policy: Policy, snapshot: Snapshot) -> dict[Target, Destination]:
    """``found``: subsets of one version. Those that are all in one place stand in under ``ignore`` only."""
    places = {each.target: _place(snapshot.pool_by_name[each.target.pool].locality) for each in found}
    pools = Counter(places.values())
    if len(pools.keys() - {()}) < 2:
        return {} if policy.reject_without_gpu else {each.target: _stood_in(each, (), 1) for each in found}
    stood_in = {}
    for each in found:
        mine = places[each.target]
        tiers = {_common(mine, there) for there, number in pools.items() if there != mine or number > 1}
        stood_in[each.target] = _stood_in(each, mine, len(tiers))
    return stood_in


_Place: TypeAlias = tuple[tuple[str, str], ...]
"""Labels of an endpoint that say where it is, and their values."""


def _stood_in(destination: Destination, place: _Place, tiers: int) -> Destination:
    """istiod compares labels in their order up to the first that differs."""
    labels = *place, (POOL_LABEL, destination.target.pool)
    return replace(destination, order=tuple(map("=".join, labels)), tiers=tiers)


def _place(locality: str) -> _Place:
    """Up to a part with ``=``, at which istiod would divide it once more."""
    parts = takewhile(lambda labelled: "=" not in labelled[1], zip(_PLACES, locality.split("/"), strict=False))
    return tuple((label, part) for label, part in parts if part)


def _common(mine: _Place, theirs: _Place) -> int:
    """How many labels of ``mine`` are as ``theirs``, before the first that is not."""
    return sum(1 for _ in takewhile(theirs.__contains__, mine))


def _destination(policy: Policy, target: Target, options: IstioOptions, *, shared: bool, grpc: bool) -> Destination:
    named = target.version or target.pool
    tls = target.upstream.tls is not None
    grpc = grpc and (tls or bool(target.grpc_endpoints))  # behind TLS too, HTTP/2 is chosen by the port's protocol
    servers = target.servers(grpc=grpc)
    own = servers == (f"{policy.host}:{policy.port}",)
    host, port = (policy.host, policy.port) if own else host_port(servers[0])
    if len(servers) == 1 and not tls:
        service, apex = service_host(replace(policy, host=host), options), service_host(policy, options)
        if own or (grpc and service == apex):
            subset = slug(policy.name if shared else "", target.version, target.pool) if named else ""
            return Destination(target, servers, apex, port, subset)
        if host.endswith(_CLUSTER):
            return Destination(target, servers, f"{host.removesuffix('.cluster.local')}.cluster.local", port)
    subset = slug(target.version, target.pool) if named else ""
    return Destination(target, servers, entry_host(policy, grpc=grpc), policy.port, subset)


def _distinct(destination: Destination) -> Destination:
    target = destination.target
    return replace(destination, subset=slug(target.policy, target.version, target.pool, digested=True))

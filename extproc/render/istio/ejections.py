"""Patches that bound how long a server stays ejected where pools in other places stand in for its own.

Each ejection that follows on another is longer by ``baseEjectionTime``, up to Envoy's ``max_ejection_time`` of 300 s,
for which a DestinationRule has no field: a pool that is back after a while, or goes twice, would stay without requests
for as long. ``destination_rules`` renders the rest.

Waypoints get none: istiod patches no cluster of the Services that are theirs (``buildWaypointInboundClusters``).
"""

from __future__ import annotations

from collections.abc import Iterator

from extproc.policy.snapshot import Snapshot
from extproc.render.document import Doc
from extproc.render.istio.destination_rules import STAND_IN_EJECTION
from extproc.render.istio.destinations import destinations
from extproc.render.istio.istio_options import IstioOptions

_BOUND = dict.fromkeys(("base_ejection_time", "max_ejection_time"), f"{STAND_IN_EJECTION}s")
"""The first as in the DestinationRule: Envoy refuses a bound below it, and one of the two may be applied earlier."""


def ejection_patches(snapshot: Snapshot, options: IstioOptions, context: str) -> Iterator[tuple[str, Doc]]:
    """One for each cluster, with the host that it is of."""
    found: dict[str, tuple[str, Doc]] = {}
    for grpc in (False, True):
        for destination in destinations(snapshot, options, grpc=grpc).values():
            if not destination.tiers:
                continue
            name, _ = destination.clusters
            patch = {
                "applyTo": "CLUSTER",
                "match": {"context": context, "cluster": {"name": name}},
                "patch": {"operation": "MERGE", "value": {"outlier_detection": dict(_BOUND)}},
            }
            found.setdefault(name, (destination.host, patch))
    yield from found.values()

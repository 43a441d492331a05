"""Patches by which proxies send a request to the server that the processor has picked for it.

istiod has no field for that but in InferencePools. So an EnvoyFilter gives each cluster of a policy with ``picking``
the load balancing policy of ``render.envoy.clusters``, which takes the place of istiod's ``lb_policy``; servers come by
EDS as before, and outlier detection stays. Envoy refuses it together with weights of localities, which istiod sets
where requests may fail over to other localities: ``destination_rules`` turns that off for these clusters.

Waypoints get none: they call pods through tunnels, and know them by no address that could be picked.
"""

from __future__ import annotations

from collections.abc import Iterator

from extproc.policy.snapshot import Snapshot
from extproc.render.document import Doc
from extproc.render.envoy.clusters import load_balancing_policy
from extproc.render.istio.destinations import destinations
from extproc.render.istio.istio_options import IstioOptions


def picking_patches(snapshot: Snapshot, options: IstioOptions, context: str) -> Iterator[tuple[str, Doc]]:
    """One for each cluster, with the host that it is of."""
    found: dict[str, tuple[str, Doc]] = {}
    for grpc in (False, True):
        for target, destination in destinations(snapshot, options, grpc=grpc).items():
            if snapshot.by_name[target.policy].picking is None:
                continue
            name, _ = destination.clusters
            value = {"load_balancing_policy": load_balancing_policy(target.load_balancer)}
            patch = {
                "applyTo": "CLUSTER",
                "match": {"context": context, "cluster": {"name": name}},
                "patch": {"operation": "MERGE", "value": value},
            }
            found.setdefault(name, (destination.host, patch))
    yield from found.values()

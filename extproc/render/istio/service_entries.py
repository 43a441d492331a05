"""ServiceEntries: endpoints that are in no Service of the cluster."""

from __future__ import annotations

from collections.abc import Sequence

from extproc.policy.snapshot import Policy, Snapshot
from extproc.render.document import Doc
from extproc.render.envoy.envoy_options import host_port, is_ip
from extproc.render.istio.destinations import Destination, destinations, entry_host
from extproc.render.istio.istio_options import (
    IstioOptions,
    manifest,
    namespace,
    slug,
)

SERVICE_ENTRY = "ServiceEntry", "networking.istio.io/v1"

_TLS_MODE_LABEL = "security.istio.io/tlsMode"


def service_entries(snapshot: Snapshot, options: IstioOptions) -> list[Doc]:
    """One for each policy that lists endpoints which are in no Service of the cluster, and one for those of gRPC."""
    listed: dict[tuple[str, bool], list[Destination]] = {}
    for grpc in (False, True):
        for target, destination in destinations(snapshot, options, grpc=grpc).items():
            if destination.host == entry_host(snapshot.by_name[target.policy], grpc=grpc):
                listed.setdefault((target.policy, grpc), []).append(destination)
    return [
        _entry(snapshot.by_name[name], found, snapshot, options, grpc=grpc) for (name, grpc), found in listed.items()
    ]


def _entry(
    policy: Policy, found: Sequence[Destination], snapshot: Snapshot, options: IstioOptions, *, grpc: bool
) -> Doc:
    addresses = [host_port(endpoint)[0] for destination in found for endpoint in destination.endpoints]
    port = "grpc" if grpc else "http"
    spec = {
        "hosts": [entry_host(policy, grpc=grpc)],
        "location": "MESH_INTERNAL" if options.meshed_endpoints else "MESH_EXTERNAL",
        "ports": [{"number": policy.port, "name": port, "protocol": port.upper()}],
        "resolution": "STATIC" if all(map(is_ip, addresses)) else "DNS",
        "endpoints": [
            _endpoint(destination, endpoint, port, snapshot, options)
            for destination in found
            for endpoint in destination.endpoints
        ],
    }
    name = f"aimesh-{slug(policy.name)}{'.grpc' * grpc}"
    return manifest(*SERVICE_ENTRY, name, namespace(policy, options), spec)


def _endpoint(
    destination: Destination, endpoint: str, port_name: str, snapshot: Snapshot, options: IstioOptions
) -> Doc:
    host, port = host_port(endpoint)
    pool = snapshot.pool_by_name.get(destination.target.pool)
    meshed = options.meshed_endpoints and destination.target.upstream.tls is None
    return {
        "address": host,
        "ports": {port_name: port},
        "labels": destination.labels | ({_TLS_MODE_LABEL: "istio"} if meshed else {}),
        **({"locality": pool.locality} if pool and pool.locality else {}),
    }

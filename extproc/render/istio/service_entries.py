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

_PORT = "http"
_TLS_MODE_LABEL = "security.istio.io/tlsMode"


def service_entries(snapshot: Snapshot, options: IstioOptions) -> list[Doc]:
    """One for each policy that lists endpoints which are in no Service of the cluster."""
    listed: dict[str, list[Destination]] = {}
    for destination in destinations(snapshot, options).values():
        if destination.host == entry_host(snapshot.by_name[destination.target.policy]):
            listed.setdefault(destination.target.policy, []).append(destination)
    return [_entry(snapshot.by_name[name], found, snapshot, options) for name, found in listed.items()]


def _entry(policy: Policy, found: Sequence[Destination], snapshot: Snapshot, options: IstioOptions) -> Doc:
    addresses = [host_port(endpoint)[0] for destination in found for endpoint in destination.target.endpoints]
    spec = {
        "hosts": [entry_host(policy)],
        "location": "MESH_INTERNAL" if options.meshed_endpoints else "MESH_EXTERNAL",
        "ports": [{"number": policy.port, "name": _PORT, "protocol": "HTTP"}],
        "resolution": "STATIC" if all(map(is_ip, addresses)) else "DNS",
        "endpoints": [
            _endpoint(destination, endpoint, snapshot, options)
            for destination in found
            for endpoint in destination.target.endpoints
        ],
    }
    return manifest(*SERVICE_ENTRY, f"aimesh-{slug(policy.name)}", namespace(policy, options), spec)


def _endpoint(destination: Destination, endpoint: str, snapshot: Snapshot, options: IstioOptions) -> Doc:
    host, port = host_port(endpoint)
    pool = snapshot.pool_by_name.get(destination.target.pool)
    return {
        "address": host,
        "ports": {_PORT: port},
        "labels": destination.labels | ({_TLS_MODE_LABEL: "istio"} if options.meshed_endpoints else {}),
        **({"locality": pool.locality} if pool and pool.locality else {}),
    }

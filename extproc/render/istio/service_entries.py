"""ServiceEntries: endpoints that are in no Service of the cluster."""

from __future__ import annotations

from collections.abc import Sequence

from extproc.policy.snapshot import Policy, Snapshot
from extproc.render.document import Doc
from extproc.render.envoy.envoy_options import host_port, is_ip
from extproc.render.istio.istio_options import (
    IstioOptions,
    manifest,
    namespace,
    slug,
)
from extproc.render.istio.places import Place, entry_host, places

SERVICE_ENTRY = "ServiceEntry", "networking.istio.io/v1"

_PORT = "http"
_TLS_MODE_LABEL = "security.istio.io/tlsMode"


def service_entries(snapshot: Snapshot, options: IstioOptions) -> list[Doc]:
    """One for each policy that lists endpoints which are in no Service of the cluster."""
    listed: dict[str, list[Place]] = {}
    for place in places(snapshot, options).values():
        if place.host == entry_host(snapshot.by_name[place.target.policy]):
            listed.setdefault(place.target.policy, []).append(place)
    return [_entry(snapshot.by_name[name], found, snapshot, options) for name, found in listed.items()]


def _entry(policy: Policy, found: Sequence[Place], snapshot: Snapshot, options: IstioOptions) -> Doc:
    addresses = [host_port(endpoint)[0] for place in found for endpoint in place.target.endpoints]
    spec = {
        "hosts": [entry_host(policy)],
        "location": "MESH_INTERNAL" if options.meshed_endpoints else "MESH_EXTERNAL",
        "ports": [{"number": policy.port, "name": _PORT, "protocol": "HTTP"}],
        "resolution": "STATIC" if all(map(is_ip, addresses)) else "DNS",
        "endpoints": [
            _endpoint(place, endpoint, snapshot, options) for place in found for endpoint in place.target.endpoints
        ],
    }
    return manifest(*SERVICE_ENTRY, f"aimesh-{slug(policy.name)}", namespace(policy, options), spec)


def _endpoint(place: Place, endpoint: str, snapshot: Snapshot, options: IstioOptions) -> Doc:
    host, port = host_port(endpoint)
    pool = snapshot.pool_by_name.get(place.target.pool)
    return {
        "address": host,
        "ports": {_PORT: port},
        "labels": place.labels | ({_TLS_MODE_LABEL: "istio"} if options.meshed_endpoints else {}),
        **({"locality": pool.locality} if pool and pool.locality else {}),
    }

"""Bootstrap of the gateway's Envoy: the apexes as upstreams, and a port for probes and metrics. Pure."""

from __future__ import annotations

import msgspec

from extproc.policy.snapshot import Policy, Snapshot, Version
from extproc.render.document import Doc
from extproc.render.envoy import bootstrap as envoy
from extproc.render.envoy.envoy_options import EnvoyOptions, address, typed
from linkerd_adapter.plan import Plan

ENVOY_ADMIN, PROCESSOR_ADMIN = "envoy-admin", "processor-admin"
PROBE_ROUTES = (
    ("/metrics", PROCESSOR_ADMIN, "/metrics"),
    ("/healthz", PROCESSOR_ADMIN, "/healthz"),
    ("/readyz", PROCESSOR_ADMIN, "/readyz"),
    ("/evidence", PROCESSOR_ADMIN, "/evidence"),
    ("/envoy/ready", ENVOY_ADMIN, "/ready"),
    ("/envoy/metrics", ENVOY_ADMIN, "/stats/prometheus"),
)
"""(path on the probe port, cluster, path there): all that can be reached from outside the pod.

Both admin ports serve more, and Envoy's can stop Envoy.
"""


def bootstrap(
    snapshot: Snapshot, plan: Plan, options: EnvoyOptions, *, probes: str, processor_admin: str, http2: bool = False
) -> Doc:
    """Envoy's bootstrap for the gateway.

    ``probes``: listening address for the kubelet and Prometheus; ``processor_admin``: address of the processor's admin
    port. ``http2``: HTTP/2 to every apex and mirror, needed where ``appProtocol: kubernetes.io/h2c`` makes Linkerd's
    proxy reset HTTP/1.1; otherwise HTTP/1.1, and HTTP/2 for gRPC.
    """
    document = envoy.bootstrap(snapshot, options, snapshot_to_apexes(snapshot, plan))
    static = document["static_resources"]
    if http2:
        for cluster in static["clusters"]:
            (protocols,) = cluster["typed_extension_protocol_options"].values()
            if "http_protocol_options" in protocols["explicit_http_config"]:
                protocols["explicit_http_config"] = {"http2_protocol_options": {}}
    static["listeners"].append(_probes(probes))
    static["clusters"] += [_cluster(ENVOY_ADMIN, options.admin), _cluster(PROCESSOR_ADMIN, processor_admin)]
    return document


def snapshot_to_apexes(snapshot: Snapshot, plan: Plan) -> Snapshot:
    """The policies as the gateway's Envoy applies them: every request to the apex, copies to the mirrors' Services.

    Linkerd chooses version and pool behind the apex. It has no request mirroring, so Envoy does that.
    """
    return Snapshot(tuple(_policy_to_apex(policy, plan) for policy in snapshot.policies))


def _policy_to_apex(policy: Policy, plan: Plan) -> Policy:
    apex = plan.apex_of(policy)
    mirrors = []
    for version in policy.mirrors:
        places = [p for p in plan.places[policy.name] if p.target.version == version.name]
        hosts, of_grpc = (
            tuple(f"{b.service.host(apex.domain)}:{b.port}" for place in places for b in place.serving(grpc=grpc))
            for grpc in (False, True)
        )
        if hosts:
            own = () if of_grpc == hosts else of_grpc
            mirrors.append(Version(version.name, 0, hosts, mirror=version.mirror, grpc_endpoints=own))
    versions = (Version("", 1, (apex.address,)), *mirrors)
    return msgspec.structs.replace(policy, versions=versions, default="", gpu=None)


def _probes(listen: str) -> Doc:
    routes = [
        {
            "match": {"path": path},
            "route": {"cluster": cluster, "prefix_rewrite": upstream_path},
        }
        for path, cluster, upstream_path in PROBE_ROUTES
    ]
    manager = typed(
        "envoy.filters.network.http_connection_manager",
        "extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        stat_prefix="probes",
        normalize_path=True,
        http_filters=[typed("envoy.filters.http.router", "extensions.filters.http.router.v3.Router")],
        route_config={"virtual_hosts": [{"name": "probes", "domains": ["*"], "routes": routes}]},
    )
    return {"name": "probes", "address": address(listen), "filter_chains": [{"filters": [manager]}]}


def _cluster(name: str, upstream: str) -> Doc:
    endpoint = {"endpoint": {"address": address(upstream)}}
    return {
        "name": name,
        "type": "STATIC",
        "connect_timeout": "1s",
        "load_assignment": {"cluster_name": name, "endpoints": [{"lb_endpoints": [endpoint]}]},
    }

"""Envoy clusters: two for each target of a policy (one for gRPC), behind TLS a third, and one for the processors."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from extproc import headers
from extproc.policy.load_balancer import CONSISTENT_HASH, LoadBalancer
from extproc.policy.snapshot import Policy, Snapshot
from extproc.policy.target import Target
from extproc.render.document import Doc
from extproc.render.envoy.credentials import credential_of, upstream_filters
from extproc.render.envoy.envoy_options import NAMESPACE, EnvoyOptions, address, host_port, is_ip, typed
from extproc.render.envoy.failover import aggregate, failover_budget, own_cluster, stand_ins
from extproc.render.envoy.secrets import Secret, secret_source
from extproc.render.envoy.sessions import session_metadata
from extproc.render.envoy.upstream_tls import endpoint_fields, secrets_of, transport_sockets

_HTTP_OPTIONS = "extensions.upstreams.http.v3.HttpProtocolOptions"
UPSTREAM_IDLE_TIMEOUT = "4s"
"""Idle time after which Envoy closes a connection to a model server. Shorter than the keep-alive of uvicorn
(5 s), which most model servers use: otherwise a request may be sent on a connection that the server is closing."""
MAX_REQUESTS = 65536
"""Circuit breaker: requests at a time. Far above Envoy's default (1024): the model server's own queue is to reject."""
CONNECTION_KEEPALIVE = {"interval": "5s", "timeout": "5s"}
"""HTTP/2 PING on connections to the processor: how often, and how long to wait for the answer."""
_EJECTION = {
    "split_external_local_origin_errors": True,
    "consecutive_local_origin_failure": 1,
    "enforcing_consecutive_gateway_failure": 100,
    "enforcing_consecutive_5xx": 0,
    "enforcing_success_rate": 0,
    "enforcing_local_origin_success_rate": 0,
}
"""Outlier detection: who can't be reached, or breaks a connection or a stream, is ejected at once; who answers as a
gateway would (502, 503, 504; UNAVAILABLE), so many times in a row as each cluster says; and nobody for other errors.
"""
_MAX_MIRRORED_REQUESTS, _MIRROR_TIMEOUT = 1024, "600s"
"""Limits of a mirror's cluster. No client waits for its answers, so a hanging mirror would go unnoticed."""


def cluster_name(target: Target, *, grpc: bool = False, upgrade: bool = False) -> str:
    """``Target.cluster``; ``grpc``: the one for gRPC, with ``#grpc`` behind it; ``upgrade``: the one for requests that
    change the protocol, with ``#upgrade``. Without TLS that is the first: only ALPN may have chosen HTTP/2, where most
    servers take no WebSocket (RFC 8441).
    """
    if grpc:
        return f"{target.cluster}#grpc"
    return target.cluster + "#upgrade" * (upgrade and target.upstream.tls is not None)


def clusters(snapshot: Snapshot, options: EnvoyOptions) -> list[Doc]:
    """Every cluster that the snapshot's routes name: of each target one for gRPC, behind TLS one for upgrades, and one
    for everything else; and with each, where others stand in for it, the aggregate of them.
    """
    return [
        cluster
        for targets in snapshot.targets.values()
        for target in targets
        for grpc, upgrade in ((False, False), (True, False), *([(False, True)] if target.upstream.tls else []))
        for cluster in _of_target(snapshot, target, options, grpc=grpc, upgrade=upgrade)
    ]


def _of_target(
    snapshot: Snapshot, target: Target, options: EnvoyOptions, *, grpc: bool, upgrade: bool
) -> Iterator[Doc]:
    policy, others = snapshot.by_name[target.policy], stand_ins(snapshot, target)
    name = cluster_name(target, grpc=grpc, upgrade=upgrade)
    own = _model_cluster(snapshot, target, options, grpc=grpc, upgrade=upgrade)
    yield own_cluster(target, own) if others else own
    if others:
        members = [name, *(cluster_name(other, grpc=grpc, upgrade=upgrade) for other in others)]
        yield aggregate(name, members, failover_budget(policy, retry_budget(policy)), _limits())


def secrets(snapshot: Snapshot) -> list[Secret]:
    """Every secret that ``clusters`` name."""
    targets = (target for found in snapshot.targets.values() for target in found)
    return list(dict.fromkeys(found for t in targets for found in (*secrets_of(t), *credential_of(t))))


def processor_cluster(options: EnvoyOptions) -> Doc:
    """The processors' cluster, with a gRPC health check each second: a dead processor gets no more streams."""
    endpoints = options.processors
    return {
        "name": options.cluster,
        "connect_timeout": "0.5s",
        **_discovery([e for e in endpoints if not e.startswith("unix:")]),
        "lb_policy": "LEAST_REQUEST",
        "load_assignment": {
            "cluster_name": options.cluster,
            "endpoints": [{"lb_endpoints": [{"endpoint": {"address": address(e)}} for e in endpoints]}],
        },
        # Without PINGs, Envoy keeps streams to a processor that hangs or whose node is gone, and the answers on them.
        "typed_extension_protocol_options": http_protocol_options(
            {"explicit_http_config": {"http2_protocol_options": {"connection_keepalive": CONNECTION_KEEPALIVE}}}
        ),
        # Each open ext_proc stream counts as a request, the observer's for as long as the model's answer; each retried
        # stream counts as a retry for as long as it is open, and Envoy's default limit is 3.
        "circuit_breakers": {"thresholds": [_limits() | {"max_retries": MAX_REQUESTS}]},
        # Who has come back, or gone, within a second of another change counts at once, not at the end of that second.
        "common_lb_config": {"healthy_panic_threshold": {"value": 0}, "update_merge_window": "0s"},
        "health_checks": [
            {
                "timeout": "1s",
                "interval": "1s",
                "no_traffic_interval": "1s",
                "no_traffic_healthy_interval": "1s",
                "unhealthy_interval": "1s",
                "unhealthy_threshold": 1,
                "healthy_threshold": 1,
                "grpc_health_check": {},
            }
        ],
        # A processor whose connections or streams break, or that is UNAVAILABLE, is ejected at once, so that retries
        # reach another one; the first health check that it passes takes it back. The last one never is: one address
        # may stand for many processors, and one broken connection is no reason to ask none.
        "outlier_detection": {
            **_EJECTION,
            "consecutive_gateway_failure": 1,
            "interval": "1s",
            "base_ejection_time": "2s",
            "max_ejection_time": "10s",
            "max_ejection_percent": 99,
        },
    }


def _model_cluster(snapshot: Snapshot, target: Target, options: EnvoyOptions, *, grpc: bool, upgrade: bool) -> Doc:
    policy = snapshot.by_name[target.policy]
    name = cluster_name(target, grpc=grpc, upgrade=upgrade)
    mirror = any(version.name == target.version for version in policy.mirrors)
    return {
        "name": name,
        "connect_timeout": "2s",
        **_discovery(target.servers(grpc=grpc)),
        "load_balancing_policy": load_balancing_policy(target.load_balancer),
        "load_assignment": _assignment(name, target, snapshot.session_keys, grpc=grpc),
        **transport_sockets(target, options, alpn="h2" if grpc else "http/1.1" if upgrade else "", grpc=grpc),
        "typed_extension_protocol_options": http_protocol_options(
            _protocols(target, grpc=grpc, upgrade=upgrade) | _filters(target, options),
            **({} if grpc else {"idle_timeout": UPSTREAM_IDLE_TIMEOUT}),
            **({"max_stream_duration": _MIRROR_TIMEOUT} if mirror else {}),
        ),
        "upstream_connection_options": {"tcp_keepalive": {"keepalive_time": 60, "keepalive_interval": 15}},
        "circuit_breakers": {
            "thresholds": [
                _limits(_MAX_MIRRORED_REQUESTS if mirror else MAX_REQUESTS) | {"retry_budget": retry_budget(policy)}
            ]
        },
        "outlier_detection": {
            # A model server is ejected for 10 s when it can't be reached, or answers 502, 503 or 504 five times in a
            # row. Other 5xx are often caused by the request. At most half of the servers are ejected at a time.
            **_EJECTION,
            "consecutive_gateway_failure": 5,
            "interval": "2s",
            "base_ejection_time": "10s",
            "max_ejection_time": "120s",
            "max_ejection_percent": 50,
        },
    }


def retry_budget(policy: Policy) -> Doc:
    """The policy's retry budget (Linkerd's terms) as Envoy's, which limits concurrent retries, not retries per second.

    ``ratio`` becomes the share of retries among active requests; ``min_per_second`` the number of concurrent retries
    that is always allowed. As answers of models take a second or more, that is at most so many retries per second.

    Where endpoints are picked, Envoy looks at no health of theirs: until the processor knows that one is gone, each of
    its requests is tried there first, which is a share of all that no usual budget has room for.
    """
    budget = policy.retry_budget
    if budget is None:
        return {"budget_percent": {"value": 100.0 if policy.picking else 20.0}, "min_retry_concurrency": 3}
    return {
        "budget_percent": {"value": min(100.0, round(budget.ratio * 100, 6))},
        "min_retry_concurrency": budget.min_per_second,
    }


_BALANCERS = {
    "leastRequest": ("least_request", "LeastRequest"),
    "roundRobin": ("round_robin", "RoundRobin"),
    "random": ("random", "Random"),
    # When one of four servers leaves, Envoy's ring moves a seventh of the others' keys too, since it always has about
    # the same number of points; Maglev's table moves none to a few in a thousand.
    CONSISTENT_HASH: ("maglev", "Maglev"),
}
"""Envoy's load balancing policies: the extension's name, and its message."""


def load_balancing_policy(balancer: LoadBalancer) -> Doc:
    """The endpoint that the processor named in a header, if any; otherwise the one that ``balancer`` chooses."""
    name, message = _BALANCERS[balancer.by]
    # In the cluster, not in the route: one route may lead to clusters that hash different headers.
    hashed = [{"header": {"header_name": balancer.header}}] if balancer.header else []
    chosen = typed(
        f"envoy.load_balancing_policies.{name}",
        f"extensions.load_balancing_policies.{name}.v3.{message}",
        **({"consistent_hashing_lb_config": {"hash_policy": hashed}} if hashed else {}),
    )
    override = typed(
        "envoy.load_balancing_policies.override_host",
        "extensions.load_balancing_policies.override_host.v3.OverrideHost",
        override_host_sources=[{"header": headers.DESTINATION_ENDPOINT}],
        fallback_policy={"policies": [{"typed_extension_config": chosen}]},
    )
    return {"policies": [{"typed_extension_config": override}]}


def _limits(limit: int = MAX_REQUESTS) -> Doc:
    return {"max_connections": limit, "max_pending_requests": limit, "max_requests": limit}


def _discovery(endpoints: Sequence[str]) -> Doc:
    if all(is_ip(host_port(e)[0]) for e in endpoints):
        return {"type": "STATIC"}
    return {"type": "STRICT_DNS", "dns_lookup_family": "ALL"}


def _assignment(name: str, target: Target, keys: Sequence[bytes], *, grpc: bool) -> Doc:
    found = []
    for endpoint in target.servers(grpc=grpc):
        fields, metadata = endpoint_fields(target, endpoint, grpc=grpc)
        mark: Doc = {NAMESPACE: {}}  # by which `doctor` knows them
        around = {"filter_metadata": mark | metadata | session_metadata(keys, target, endpoint)}
        found.append({"endpoint": {"address": address(endpoint), **fields}, "metadata": around})
    return {"cluster_name": name, "endpoints": [{"lb_endpoints": found}]}


def _protocols(target: Target, *, grpc: bool, upgrade: bool) -> Doc:
    """The field of HttpProtocolOptions that chooses the protocol."""
    if target.upstream.tls and not (grpc or upgrade):  # by ALPN (RFC 7301)
        return {"auto_config": {"http_protocol_options": {}, "http2_protocol_options": {}}}
    return {"explicit_http_config": {"http2_protocol_options": {}} if grpc else {"http_protocol_options": {}}}


def _filters(target: Target, options: EnvoyOptions) -> Doc:
    if target.upstream.credentials is None:
        return {}
    (secret,) = credential_of(target)
    source = secret_source(secret, options) or {"name": secret.name}
    return {"http_filters": upstream_filters(target.upstream.credentials, source)}


def http_protocol_options(protocol: Doc, **common: str) -> Doc:
    """The value of ``typed_extension_protocol_options``. ``protocol``: fields of HttpProtocolOptions; ``common``: those
    of its ``common_http_protocol_options``.
    """
    options = typed("", _HTTP_OPTIONS, **protocol)["typed_config"]
    if common:
        options["common_http_protocol_options"] = common
    return {f"envoy.{_HTTP_OPTIONS}": options}

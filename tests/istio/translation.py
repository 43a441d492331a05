"""A small model of what istiod makes of a ServiceEntry, a DestinationRule and a VirtualService: clusters and routes.

It knows the fields that we render and no others (one that it doesn't know is a KeyError), and says it as istiod does:
clusters are called ``outbound|port|subset|host``, sidecars' virtual hosts ``host:port``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

Doc = dict[str, Any]

_HTTP = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"


@dataclass(frozen=True)
class Endpoint:
    """A pod, or an endpoint of a ServiceEntry."""

    address: str
    labels: Mapping[str, str] = field(default_factory=dict)
    locality: str = ""


@dataclass(frozen=True)
class Service:
    """What istiod knows of a host, from Kubernetes or from a ServiceEntry."""

    host: str
    port: int
    endpoints: tuple[Endpoint, ...]
    http2: bool = False


def of_kind(documents: Iterable[Doc], kind: str) -> list[Doc]:
    return [document for document in documents if document["kind"] == kind]


def entries(documents: Iterable[Doc]) -> list[Service]:
    """The services that ServiceEntries declare."""
    found = []
    for document in of_kind(documents, "ServiceEntry"):
        spec = document["spec"]
        (port,) = spec["ports"]
        endpoints = tuple(
            Endpoint(f"{e['address']}:{e['ports'][port['name']]}", e["labels"], e.get("locality", ""))
            for e in spec["endpoints"]
        )
        http2 = {"HTTP": False, "GRPC": True}[port["protocol"]]
        found += [Service(host, port["number"], endpoints, http2) for host in spec["hosts"]]
    return found


def clusters(services: Iterable[Service], documents: list[Doc]) -> list[Doc]:
    """For each service a cluster, and one for each subset."""
    rules = {rule["spec"]["host"]: rule["spec"] for rule in of_kind(documents, "DestinationRule")}
    found = []
    for service in services:
        rule = rules.get(service.host, {"trafficPolicy": {}})
        found.append(_cluster(service, "", {}, rule["trafficPolicy"]))
        for subset in rule.get("subsets", ()):
            # What a subset says of a field of the traffic policy stands for the whole field.
            traffic = rule["trafficPolicy"] | subset.get("trafficPolicy", {})
            found.append(_cluster(service, subset["name"], subset["labels"], traffic))
    return found


def _cluster(service: Service, subset: str, labels: Mapping[str, str], traffic: Doc) -> Doc:
    name = f"outbound|{service.port}|{subset}|{service.host}"
    mine = [e for e in service.endpoints if labels.items() <= e.labels.items()]
    tiers = _tiers(mine, traffic.get("loadBalancer", {}))
    protocol: Doc = {"http2_protocol_options" if service.http2 else "http_protocol_options": {}}
    pool = traffic.get("connectionPool", {"http": {}, "tcp": {}})
    idle = {"common_http_protocol_options": {"idle_timeout": t}} if (t := pool["http"].get("idleTimeout")) else {}
    return {
        "name": name,
        "type": "STATIC",
        "connect_timeout": pool["tcp"].get("connectTimeout", "10s"),
        "lb_policy": traffic.get("loadBalancer", {}).get("simple", "LEAST_REQUEST"),
        "load_assignment": {
            "cluster_name": name,
            "endpoints": [
                {"priority": i, "lb_endpoints": [_lb(e) for e in tier]} for i, tier in enumerate(tiers) if tier
            ],
        },
        "circuit_breakers": {"thresholds": [_limits(pool, traffic)]},
        **_tls(traffic.get("tls"), http2=service.http2),
        **_ejection(traffic.get("outlierDetection")),
        "typed_extension_protocol_options": {
            _HTTP: {"@type": f"type.googleapis.com/{_HTTP}", "explicit_http_config": protocol, **idle}
        },
    }


def _tiers(endpoints: list[Endpoint], balancer: Doc) -> list[list[Endpoint]]:
    """``failoverPriority: [key=value]``: who has the label comes first."""
    setting = balancer.get("localityLbSetting")
    if setting is None:
        return [endpoints]
    (wanted,) = setting["failoverPriority"]
    key, _, value = wanted.partition("=")
    first = [e for e in endpoints if e.labels.get(key) == value]
    return [first, [e for e in endpoints if e not in first]]


def _lb(endpoint: Endpoint) -> Doc:
    host, _, port = endpoint.address.rpartition(":")
    return {"endpoint": {"address": {"socket_address": {"address": host, "port_value": int(port)}}}}


def _limits(pool: Doc, traffic: Doc) -> Doc:
    limits: Doc = {"max_retries": pool["http"].get("maxRetries", (1 << 32) - 1)}
    for theirs, ours in (("http1MaxPendingRequests", "max_pending_requests"), ("http2MaxRequests", "max_requests")):
        if theirs in pool["http"]:
            limits[ours] = pool["http"][theirs]
    if "maxConnections" in pool["tcp"]:
        limits["max_connections"] = pool["tcp"]["maxConnections"]
    if budget := traffic.get("retryBudget"):
        percent, least = budget["percent"], budget["minRetryConcurrency"]
        limits["retry_budget"] = {"budget_percent": {"value": percent}, "min_retry_concurrency": least}
    return limits


def _tls(tls: Doc | None, *, http2: bool) -> Doc:
    """As pilot/pkg/networking/core/cluster_tls.go: authorities are those of the system where none are named."""
    if tls is None:
        return {}
    common: Doc = {"alpn_protocols": ["h2"]} if http2 else {}
    if tls["mode"] == "MUTUAL":
        chain, key = {"filename": tls["clientCertificate"]}, {"filename": tls["privateKey"]}
        common["tls_certificates"] = [{"certificate_chain": chain, "private_key": key}]
    common["validation_context"] = {"trust_chain_verification": "ACCEPT_UNTRUSTED"}
    if not tls.get("insecureSkipVerify"):
        common["validation_context"] = {
            "trusted_ca": {"filename": tls["caCertificates"]},
            "match_subject_alt_names": [{"exact": name} for name in tls["subjectAltNames"]],
        }
    kind = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext"
    config = {"@type": kind, "common_tls_context": common, **({"sni": tls["sni"]} if "sni" in tls else {})}
    return {"transport_socket": {"name": "envoy.transport_sockets.tls", "typed_config": config}}


def _ejection(rule: Doc | None) -> Doc:
    """With ejection Istio gives up panic: servers that rest get nothing, also where nobody else is left."""
    if rule is None:
        return {}
    found: Doc = {
        "consecutive_5xx": rule["consecutive5xxErrors"],
        "enforcing_consecutive_5xx": 100 if rule["consecutive5xxErrors"] else 0,
        "consecutive_gateway_failure": rule["consecutiveGatewayErrors"],
        "enforcing_consecutive_gateway_failure": 100,
        "split_external_local_origin_errors": rule["splitExternalLocalOriginErrors"],
        "consecutive_local_origin_failure": rule["consecutiveLocalOriginFailures"],
        "interval": rule["interval"],
        "base_ejection_time": rule["baseEjectionTime"],
        "max_ejection_percent": rule["maxEjectionPercent"],
        "enforcing_success_rate": 0,
    }
    if not found["consecutive_5xx"]:
        del found["consecutive_5xx"]
    return {"outlier_detection": found, "common_lb_config": {"healthy_panic_threshold": {"value": 0}}}


def virtual_host(host: str, port: int, documents: list[Doc], gateway: str = "") -> Doc:
    """The virtual host of one host; what no VirtualService names goes to its service."""
    mine = [
        route
        for document in of_kind(documents, "VirtualService")
        if host in document["spec"]["hosts"] and document["spec"].get("gateways", ["mesh"]) == [gateway or "mesh"]
        for route in document["spec"]["http"]
    ]
    routes = [made for route in mine for made in _routes(route)]
    plain = {"name": "default", "match": {"prefix": "/"}, "route": {"cluster": f"outbound|{port}||{host}"}}
    return {"name": f"{host}:{port}", "domains": [host, f"{host}:*"], "routes": routes or [plain]}


def _routes(route: Doc) -> list[Doc]:
    """One for each match: istiod has no other way to say "or"."""
    known = {"name", "match", "route", "mirrors", "headers", "retries", "directResponse", "rewrite"}
    assert route.keys() <= known, route.keys() - known
    removed = {"request_headers_to_remove": r["request"]["remove"]} if (r := route.get("headers")) else {}
    return [
        {"name": route["name"], "match": {"prefix": "/", "headers": _headers(match)}, **removed, **_action(route)}
        for match in route.get("match", [{"headers": {}}])
    ]


def _headers(match: Doc) -> list[Doc]:
    (headers,) = match.values()
    found = []
    for name, wanted in headers.items():
        ((how, text),) = wanted.items()
        value = {"safe_regex": {"regex": text}} if how == "regex" else {how: text}
        found.append({"name": name, "string_match": value})
    return found


def _action(route: Doc) -> Doc:
    if response := route.get("directResponse"):
        return {"direct_response": {"status": response["status"]}}
    weighted = [{"name": _name(to["destination"]), "weight": to.get("weight", 1), **_host(to)} for to in route["route"]]
    action: Doc = {"weighted_clusters": {"clusters": weighted}, "timeout": "0s"}
    if len(weighted) == 1:
        action = {"cluster": weighted[0]["name"], "timeout": "0s", **_host(route["route"][0])}
    if rewrite := route.get("rewrite"):
        regex = rewrite["uriRegexRewrite"]
        action["regex_rewrite"] = {"pattern": {"regex": regex["match"]}, "substitution": regex["rewrite"]}
    if route["retries"]["attempts"]:
        action["retry_policy"] = _retries(route["retries"])
    if mirrors := route.get("mirrors"):
        action["request_mirror_policies"] = [
            {
                "cluster": _name(mirror["destination"]),
                "runtime_fraction": {
                    "default_value": {
                        "numerator": int(mirror["percentage"]["value"] * 10_000),
                        "denominator": "MILLION",
                    }
                },
            }
            for mirror in mirrors
        ]
    return {"route": action}


def _host(to: Doc) -> Doc:
    """A header ``Host`` that a destination sets is its host rewriting (pilot/pkg/networking/core/route/route.go)."""
    name = to.get("headers", {"request": {"set": {}}})["request"]["set"].get("Host")
    return {"host_rewrite_literal": name} if name else {}


def _retries(retries: Doc) -> Doc:
    previous = "envoy.extensions.retry.host.previous_hosts.v3.PreviousHostsPredicate"
    limit = {"per_try_timeout": retries["perTryTimeout"]} if "perTryTimeout" in retries else {}
    return {
        "retry_on": retries["retryOn"],
        "num_retries": retries["attempts"],
        **limit,
        "retry_host_predicate": [
            {
                "name": "envoy.retry_host_predicates.previous_hosts",
                "typed_config": {"@type": f"type.googleapis.com/{previous}"},
            }
        ],
        "host_selection_retry_max_attempts": 5,
    }


def _name(destination: Doc) -> str:
    return f"outbound|{destination['port']['number']}|{destination.get('subset', '')}|{destination['host']}"

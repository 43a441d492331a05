"""Istio's objects as YAML, made from what a test is about."""

from __future__ import annotations

from typing import Any

import yaml

URL = "type.googleapis.com/"
EXT_PROC = URL + "envoy.extensions.filters.http.ext_proc.v3.ExternalProcessor"
PER_ROUTE = URL + "envoy.extensions.filters.http.ext_proc.v3.ExtProcPerRoute"
HCM = "envoy.filters.network.http_connection_manager"
CLUSTER = "outbound|50051||processor.ai.svc.cluster.local"
VERSIONS = {
    "VirtualService": "networking.istio.io/v1",
    "DestinationRule": "networking.istio.io/v1",
    "ServiceEntry": "networking.istio.io/v1",
    "Sidecar": "networking.istio.io/v1",
    "EnvoyFilter": "networking.istio.io/v1alpha3",
    "Telemetry": "telemetry.istio.io/v1",
    "PeerAuthentication": "security.istio.io/v1",
    "WasmPlugin": "extensions.istio.io/v1alpha1",
    "ModelInferencePolicy": "ai.istio.io/v1alpha1",
    "Service": "v1",
}
"""The newest version of each kind."""


def resource(
    kind: str, name: str = "a", namespace: str = "ai", annotations: dict[str, str] | None = None, **spec: Any
) -> str:
    """An object as a document of YAML."""
    metadata: dict[str, Any] = {"name": name, "namespace": namespace}
    if annotations:
        metadata["annotations"] = annotations
    document = {"apiVersion": VERSIONS.get(kind, "v1"), "kind": kind, "metadata": metadata, "spec": spec}
    return "---\n" + yaml.safe_dump(document, sort_keys=False)


def envoy_filter(
    *patches: dict[str, Any], name: str = "models", annotations: dict[str, str] | None = None, **spec: Any
) -> str:
    """An EnvoyFilter for one workload's gateway."""
    chosen = {"priority": 10, "workloadSelector": {"labels": {"istio": "ingressgateway"}}, **spec}
    return resource("EnvoyFilter", name, annotations=annotations, configPatches=list(patches), **chosen)


def http_filter(
    config: dict[str, Any] | None = None,
    *,
    name: str = "models.route",
    operation: str = "INSERT_BEFORE",
    anchor: str = "envoy.filters.http.grpc_stats",
    context: str = "GATEWAY",
    proxy: dict[str, Any] | None = None,
    **value: Any,
) -> dict[str, Any]:
    """A patch that puts in an HTTP filter; without ``anchor`` beside no other."""
    around: dict[str, Any] = {"name": HCM, **({"subFilter": {"name": anchor}} if anchor else {})}
    match = {"context": context, "listener": {"filterChain": {"filter": around}}, **({"proxy": proxy} if proxy else {})}
    filtered = {"name": name, **value, **({"typed_config": config} if config is not None else {})}
    return {"applyTo": "HTTP_FILTER", "match": match, "patch": {"operation": operation, "value": filtered}}


def ext_proc(**config: Any) -> dict[str, Any]:
    """The configuration of a processor that routes and with which nothing is wrong; None leaves a field out."""
    service = {"envoy_grpc": {"cluster_name": CLUSTER}}
    well = {
        "@type": EXT_PROC,
        "grpc_service": service,
        "failure_mode_allow": True,
        "message_timeout": "1s",
        "route_cache_action": "CLEAR",
        "processing_mode": {"response_header_mode": "SKIP"},
        "forward_rules": {"allowed_headers": {"patterns": [{"exact": ":path"}]}},
        "mutation_rules": {"disallow_all": True},
    }
    return {key: value for key, value in {**well, **config}.items() if value is not None}


def host_patch(settings: dict[str, Any] | None = None, **value: Any) -> dict[str, Any]:
    """A patch of a virtual host; ``settings``: of filters, by their names."""
    per_filter = {"typed_per_filter_config": settings} if settings is not None else {}
    return {
        "applyTo": "VIRTUAL_HOST",
        "match": {"context": "GATEWAY", "routeConfiguration": {"vhost": {"domainName": "models.example.com"}}},
        "patch": {"operation": "MERGE", "value": {**per_filter, **value}},
    }


def early_mutations(*mutations: dict[str, Any], context: str = "GATEWAY") -> dict[str, Any]:
    """A patch that has the connection manager change headers before it chooses a route."""
    kind = "envoy.extensions.http.early_header_mutation.header_mutation.v3.HeaderMutation"
    extension = {"name": "early", "typed_config": {"@type": URL + kind, "mutations": list(mutations)}}
    manager = {
        "@type": f"{URL}envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "early_header_mutation_extensions": [extension],
    }
    match = {"context": context, "listener": {"filterChain": {"filter": {"name": HCM}}}}
    patch = {"operation": "MERGE", "value": {"name": HCM, "typed_config": manager}}
    return {"applyTo": "NETWORK_FILTER", "match": match, "patch": patch}


def cluster_patch(name: str, **value: Any) -> dict[str, Any]:
    """A patch that adds a cluster."""
    patch = {"operation": "ADD", "value": {"name": name, **value}}
    return {"applyTo": "CLUSTER", "match": {"context": "GATEWAY"}, "patch": patch}


def service(name: str = "processor", namespace: str = "ai", /, **port: Any) -> str:
    """A Service with one port."""
    return resource("Service", name, namespace, ports=[{"port": 50051, **port}])

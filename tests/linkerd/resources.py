"""Resources of a cluster around one Service, ``chat`` in the namespace ``ai``: a function for each kind."""

from __future__ import annotations

from typing import Any

from linkerd_adapter.names import Service

from tests.linkerd.live_cluster import Doc

PARENT = Service("ai", "chat")
REF = {"group": "", "kind": "Service", "name": "chat", "port": 8080}
GATEWAY = {"group": "gateway.networking.k8s.io", "kind": "Gateway", "name": "chat"}


def condition(status: str, reason: str = "", kind: str = "Accepted") -> Doc:
    return {"type": kind, "status": status, "reason": reason}


ACCEPTED = {"parents": [{"parentRef": REF, "conditions": [condition("True")]}]}
"""The status of a route that is in force at the Service."""


def http_route(rule: Doc | None = None, **spec: Any) -> Doc:
    return {
        "apiVersion": "gateway.networking.k8s.io/v1",
        "kind": "HTTPRoute",
        "metadata": {"name": "r", "namespace": "ai"},
        "spec": {"parentRefs": [REF], "rules": [rule or {}], **spec},
    }


def service(*ports: Doc, name: str = "chat", annotations: Doc | None = None, **spec: Any) -> Doc:
    metadata = {"name": name, "namespace": "ai", "annotations": annotations}
    return {"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": {"ports": [*ports], **spec}}


def profile(namespace: str, name: str = "chat.ai.svc.cluster.local", **spec: Any) -> Doc:
    metadata = {"name": name, "namespace": namespace}
    return {"apiVersion": "linkerd.io/v1alpha2", "kind": "ServiceProfile", "metadata": metadata, "spec": spec}


def slice_of(name: str | None, *ready: bool | None) -> Doc:
    labels = name and {"kubernetes.io/service-name": name}
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {"name": "x", "namespace": "ai", "labels": labels},
        "endpoints": [{"conditions": {"ready": each}} for each in ready] or None,
    }

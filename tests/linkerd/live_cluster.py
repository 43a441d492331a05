"""A policy, our rendering of it as a cluster has it once applied, and what ``explain`` says of requests there."""

from __future__ import annotations

import json
from copy import deepcopy
from typing import Any

from linkerd_adapter import plan
from linkerd_adapter.explain import ClientRequest, explain
from linkerd_adapter.names import Service
from linkerd_adapter.routes import http_routes
from linkerd_adapter.services import services

from tests.policy_documents import load_texts

POLICY = """
apiVersion: ai.istio.io/v1alpha1
kind: ModelInferencePolicy
metadata: {name: chat, namespace: ai}
spec:
  host: chat
  selector: {matchLabels: {app: chat}}
  models: [llama, "llama-*"]
  versions:
  - {name: v1, weight: 9}
  - {name: v2, weight: 1, match: [{headers: {x-beta: "true"}}]}
  allowPin: true
---
apiVersion: ai.istio.io/v1alpha1
kind: ModelInferencePolicy
metadata: {name: starved, namespace: ai}
spec:
  host: starved
  selector: {matchLabels: {app: starved}}
  models: [big]
  gpuRequirements: {architecture: b200}
---
apiVersion: ai.istio.io/v1alpha1
kind: GpuPool
metadata: {name: small}
spec: {product: Tesla-T4}
"""
SNAPSHOT = load_texts([("policy.yaml", POLICY)]).snapshot
GATEWAY = Service("edge", "inference-gateway")
Doc = dict[str, Any]


def chat(model: str = "llama", **headers: str) -> ClientRequest:
    pairs = tuple((name.replace("_", "-"), value) for name, value in headers.items())
    return ClientRequest("POST", "/v1/chat/completions", pairs, json.dumps({"model": model}).encode())


def applied() -> list[Doc]:
    """Our rendering as the cluster has it: every route accepted, every Service with an address and a ready endpoint."""
    made = plan.make(SNAPSHOT, "ai")
    docs: list[Doc] = []
    for apex in made.apexes:
        for doc in deepcopy([*services(made, apex, None, None), *http_routes(SNAPSHOT, made, apex)]):
            meta = doc["metadata"]
            meta |= {"creationTimestamp": "2026-01-01T00:00:00Z", "uid": "1", "resourceVersion": "7"}
            docs.append(doc)
            if doc["kind"] == "HTTPRoute":
                accepted = {"type": "Accepted", "status": "True", "reason": "Accepted", "message": ""}
                status = {"controllerName": "linkerd.io/policy-controller", "conditions": [accepted]}
                doc["status"] = {"parents": [{"parentRef": doc["spec"]["parentRefs"][0], **status}]}
            else:
                doc["spec"] |= {"clusterIP": "10.1.2.3", "type": "ClusterIP"}
                labels = {"kubernetes.io/service-name": meta["name"]}
                docs.append(
                    {
                        "apiVersion": "discovery.k8s.io/v1",
                        "kind": "EndpointSlice",
                        "metadata": {"name": f"{meta['name']}-x", "namespace": meta["namespace"], "labels": labels},
                        "endpoints": [{"addresses": ["10.0.0.1"], "conditions": {"ready": True}}],
                    }
                )
    return docs


def one(docs: list[Doc], kind: str, name: str) -> Doc:
    return next(d for d in docs if (d["kind"], d["metadata"]["name"]) == (kind, name))


def explained(docs: list[Doc] | None, request: ClientRequest) -> dict[str, Any]:
    return explain(SNAPSHOT, GATEWAY, request, docs, b"entropy!")

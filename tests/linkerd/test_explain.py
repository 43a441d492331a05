"""``linkerd-adapter explain``: where a request comes to, by our own rendering or by what kubectl says, and why."""

from __future__ import annotations

import json
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from linkerd_adapter import kubectl_output, plan
from linkerd_adapter.explain import Asked, explain
from linkerd_adapter.names import Service
from linkerd_adapter.policy_controller import Cluster
from linkerd_adapter.routes import http_routes
from linkerd_adapter.services import services

from extproc.errors import SetupError
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


def chat(model: str = "llama", **headers: str) -> Asked:
    pairs = tuple((name.replace("_", "-"), value) for name, value in headers.items())
    return Asked("POST", "/v1/chat/completions", pairs, json.dumps({"model": model}).encode())


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


def asked(docs: list[Doc] | None, request: Asked) -> dict[str, Any]:
    return explain(SNAPSHOT, GATEWAY, request, docs, b"entropy!")


@pytest.mark.parametrize("docs", [None, applied()], ids=["rendered", "live"])
def test_a_version_is_reached_and_it_says_why(docs: list[Doc] | None) -> None:
    found = asked(docs, chat(x_beta="true", x_model_name="forged", x_gpu_pool="forged"))
    assert found["backend"] == "chat-v2.ai:8080"
    assert found["route"] == {"name": "chat", "namespace": "ai", "rule": 1, "of": 3}
    assert found["reason"] == "rules[1] of chat: x-model-version: v2"
    assert found["decision"]["cohort"] == "match"
    assert (found["status"], found["ignored"]) == (None, [])


def test_what_nobody_owns_is_drawn_by_weight() -> None:
    found = asked(None, chat("other"))
    assert found["backend"] is None
    assert [(b["service"], b["share"]) for b in found["backends"]] == [("chat-v1", 0.9), ("chat-v2", 0.1)]
    assert (
        found["reason"]
        == "rules[2] of chat: it has no condition, and no other rule fits better; a backend is drawn by weight"
    )


def test_a_dead_canary_is_seen() -> None:
    docs = applied()
    one(docs, "EndpointSlice", "chat-v2-x")["endpoints"][0]["conditions"]["ready"] = False
    found = asked(docs, chat("other"))
    assert found["backend"] == "chat-v1.ai:8080"
    assert [(b["service"], b["share"], b["available"]) for b in found["backends"]] == [
        ("chat-v1", 1.0, True),
        ("chat-v2", 0.0, False),
    ]
    assert "chat-v2.ai:8080 has no ready endpoint: after each pause" in found["reason"]
    found = asked(docs, chat(x_beta="true"))
    assert (found["backend"], found["status"]) == (None, 504)
    assert "none of its backends has a ready endpoint" in found["reason"]


def test_a_refused_request_goes_nowhere() -> None:
    found = asked(None, chat("big"))
    assert (found["backend"], found["route"], found["status"]) == (None, None, 503)
    assert found["reason"].startswith("the gateway answers: no GPU pool can serve")


def test_other_routes_of_the_same_parent_compete() -> None:
    docs = applied()
    mine = one(docs, "HTTPRoute", "chat")
    other = deepcopy(mine)
    other["metadata"] |= {"name": "older", "creationTimestamp": "2025-01-01T00:00:00Z"}
    other["spec"]["rules"] = [
        {
            "matches": [{"path": {"type": "PathPrefix", "value": "/v1"}}],
            "backendRefs": [{"name": "chat-v1", "port": 8080}],
        }
    ]
    found = asked([*docs, other], chat(x_beta="true"))
    assert (found["route"]["name"], found["backend"]) == ("older", "chat-v1.ai:8080")
    other["spec"]["rules"] = [{"matches": [{"path": {"type": "Exact", "value": "/else"}}]}]
    mine["spec"]["rules"] = mine["spec"]["rules"][:1]
    found = asked([*docs, other], chat(x_beta="true"))
    assert (found["route"], found["backend"], found["status"]) == (None, None, 404)
    other["spec"]["rules"] = [{}]
    found = asked([*docs, other], chat(x_beta="true"))
    assert (found["route"]["name"], found["backend"]) == ("older", "chat.ai:8080")


def test_what_nobody_told_of_is_not_missing() -> None:
    """Services of other namespaces, as where kubectl was asked for one; and those that a policy names by endpoints."""
    docs = applied()
    one(docs, "HTTPRoute", "chat")["spec"]["rules"] = [
        {"backendRefs": [{"name": "x", "namespace": "gpus", "port": 80}]}
    ]
    assert asked(docs, chat())["backend"] == "x.gpus:80"
    text = POLICY.replace("{name: v2, weight: 1,", '{name: v2, weight: 1, endpoints: ["vllm.gpus.svc:8000", "tgi:80"],')
    snapshot = load_texts([("policy.yaml", text)]).snapshot
    found = explain(snapshot, GATEWAY, chat(x_beta="true"))
    assert [(b["service"], b["namespace"], b["port"], b["share"]) for b in found["backends"]] == [
        ("vllm", "gpus", 8000, 0.5),
        ("tgi", "ai", 80, 0.5),
    ]
    assert found["status"] is None


def test_lists_documents_and_nulls_are_read(tmp_path: Path) -> None:
    """As kubectl writes them: one List of everything, or files put together; JSON too."""
    docs = applied()
    one(docs, "HTTPRoute", "chat")["spec"]["hostnames"] = None
    single = {"apiVersion": "v1", "kind": "List", "items": docs, "metadata": {"resourceVersion": ""}}
    halves = [{"apiVersion": "v1", "kind": "ServiceList", "items": docs[:3]}, {"kind": "List", "items": docs[3:]}]
    texts = [
        yaml.safe_dump(single),
        "---\n".join([*map(yaml.safe_dump, halves), ""]),
        "---\n".join(map(yaml.safe_dump, docs)),
        json.dumps(single),
        yaml.safe_dump(single).replace("'2026-01-01T00:00:00Z'", "2026-01-01T00:00:00Z"),
    ]
    wanted = asked(docs, chat(x_beta="true"))
    for number, text in enumerate(texts):
        file = tmp_path / f"{number}.yaml"
        file.write_text(text)
        assert asked(kubectl_output.read(file), chat(x_beta="true")) == wanted


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"a: [", "is no YAML"),
        (b"", "holds no resource"),
        (b"- 1\n", "holds no resource"),
        (b"\xff\xfe\x00", "is no YAML"),
    ],
)
def test_what_is_no_output_of_kubectls_is_refused(tmp_path: Path, content: bytes, why: str) -> None:
    file = tmp_path / "live.yaml"
    file.write_bytes(content)
    with pytest.raises(SetupError, match=why):
        kubectl_output.read(file)
    with pytest.raises(SetupError, match="cannot be read: No such file"):
        kubectl_output.read(tmp_path / "nothing")


TREES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-1, 70000)
    | st.sampled_from(["", "Service", "HTTPRoute", "chat", "ai", "v1"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["kind", "apiVersion", "metadata", "spec", "name", "rules", "parentRefs", "port", "items"]),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@given(st.lists(TREES, max_size=4))
def test_no_tree_breaks_it(trees: list[Any]) -> None:
    cluster = Cluster(trees, live=True)
    routes, _ = cluster.routes(Service("ai", "chat"), 8080, "edge")
    cluster.off(Service("ai", "chat"), 8080, "edge")
    assert all(route.namespace in ("ai", "edge") for route in routes)


@given(st.sampled_from(["HTTPRoute", "Service", "EndpointSlice"]), st.data())
def test_no_change_of_a_resource_breaks_it(kind: str, data: st.DataObject) -> None:
    docs = applied()
    doc: Any = next(d for d in docs if d["kind"] == kind)
    while isinstance(doc, dict | list) and doc:
        keys = sorted(doc) if isinstance(doc, dict) else list(range(len(doc)))
        key = data.draw(st.sampled_from(keys))
        if not isinstance(doc[key], dict | list) or data.draw(st.booleans()):
            doc[key] = data.draw(TREES)
            break
        doc = doc[key]
    found = asked(docs, chat(x_beta="true"))
    assert found["reason"]
    assert json.loads(json.dumps(found)) == found

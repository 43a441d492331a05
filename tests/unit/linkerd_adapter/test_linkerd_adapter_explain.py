"""``linkerd-adapter explain``: where a request comes to, by our own rendering or by what kubectl says, and why."""

from __future__ import annotations

import json
from copy import deepcopy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from linkerd_adapter.explain import ClientRequest, explain

from tests.linkerd import changes
from tests.linkerd.live_cluster import GATEWAY, POLICY, Doc, applied, chat, explained, one
from tests.linkerd.trees import TREES
from tests.policy_documents import load_texts


@pytest.mark.parametrize("docs", [None, applied()], ids=["rendered", "live"])
def test_a_version_is_reached_and_it_says_why(docs: list[Doc] | None) -> None:
    found = explained(docs, chat(x_beta="true", x_model_name="forged", x_gpu_pool="forged"))
    assert found["backend"] == "chat-v2.ai:8080"
    assert found["route"] == {"name": "chat", "namespace": "ai", "rule": 1, "of": 3}
    assert found["reason"] == "rules[1] of chat: x-model-version: v2"
    assert found["decision"]["cohort"] == "match"
    assert (found["status"], found["ignored"]) == (None, [])


def test_what_nobody_owns_is_drawn_by_weight() -> None:
    found = explained(None, chat("other"))
    assert found["backend"] is None
    assert [(b["service"], b["share"]) for b in found["backends"]] == [("chat-v1", 0.9), ("chat-v2", 0.1)]
    assert (
        found["reason"]
        == "rules[2] of chat: it has no condition, and no other rule fits better; a backend is drawn by weight"
    )


def test_a_dead_canary_is_seen() -> None:
    docs = applied()
    one(docs, "EndpointSlice", "chat-v2-x")["endpoints"][0]["conditions"]["ready"] = False
    found = explained(docs, chat("other"))
    assert found["backend"] == "chat-v1.ai:8080"
    assert [(b["service"], b["share"], b["available"]) for b in found["backends"]] == [
        ("chat-v1", 1.0, True),
        ("chat-v2", 0.0, False),
    ]
    assert "chat-v2.ai:8080 has no ready endpoint: after each pause" in found["reason"]
    found = explained(docs, chat(x_beta="true"))
    assert (found["backend"], found["status"]) == (None, 504)
    assert "none of its backends has a ready endpoint" in found["reason"]


def test_a_refused_request_goes_nowhere() -> None:
    found = explained(None, chat("big"))
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
    found = explained([*docs, other], chat(x_beta="true"))
    assert (found["route"]["name"], found["backend"]) == ("older", "chat-v1.ai:8080")
    other["spec"]["rules"] = [{"matches": [{"path": {"type": "Exact", "value": "/else"}}]}]
    mine["spec"]["rules"] = mine["spec"]["rules"][:1]
    found = explained([*docs, other], chat(x_beta="true"))
    assert (found["route"], found["backend"], found["status"]) == (None, None, 404)
    other["spec"]["rules"] = [{}]
    found = explained([*docs, other], chat(x_beta="true"))
    assert (found["route"]["name"], found["backend"]) == ("older", "chat.ai:8080")


def test_what_nobody_told_of_is_not_missing() -> None:
    """Services of other namespaces, as where kubectl was asked for one; and those that a policy names by endpoints."""
    docs = applied()
    one(docs, "HTTPRoute", "chat")["spec"]["rules"] = [
        {"backendRefs": [{"name": "x", "namespace": "gpus", "port": 80}]}
    ]
    assert explained(docs, chat())["backend"] == "x.gpus:80"
    text = POLICY.replace("{name: v2, weight: 1,", '{name: v2, weight: 1, endpoints: ["vllm.gpus.svc:8000", "tgi:80"],')
    snapshot = load_texts([("policy.yaml", text)]).snapshot
    found = explain(snapshot, GATEWAY, chat(x_beta="true"))
    assert [(b["service"], b["namespace"], b["port"], b["share"]) for b in found["backends"]] == [
        ("vllm", "gpus", 8000, 0.5),
        ("tgi", "ai", 80, 0.5),
    ]
    assert found["status"] is None


def test_grpc_goes_by_the_grpc_route() -> None:
    docs = applied()
    changes.break_grpc(docs)
    call = ClientRequest("POST", "/inference.GRPCInferenceService/ModelInfer", (("content-type", "application/grpc"),))
    found = explained(docs, call)
    assert (found["reset"], found["backend"], found["status"]) == (False, None, None)
    assert "the GRPCRoute calls has the same parent" in found["reason"]


def test_a_rule_of_weight_nothing_fails_every_rule() -> None:
    docs = applied()
    refs = [{"name": name, "port": 8080, "weight": 0} for name in ("chat-v1", "chat-v2")]
    one(docs, "HTTPRoute", "chat")["spec"]["rules"].append({"backendRefs": refs, "matches": [{"method": "PUT"}]})
    found = explained(docs, chat(x_beta="true"))
    assert (found["reset"], found["backend"], found["status"]) == (True, None, None)
    assert "rules[3] of chat has only backends of weight 0" in found["reason"]


def test_a_port_of_http_2_alone_is_told() -> None:
    docs = applied()
    one(docs, "Service", "chat")["spec"]["ports"][0]["appProtocol"] = "kubernetes.io/h2c"
    found = explained(docs, chat(x_beta="true"))
    assert found["backend"] == "chat-v2.ai:8080"
    assert "--app-protocol kubernetes.io/h2c" in found["reason"]


@pytest.mark.parametrize(
    ("harm", "outcome", "why"),
    [
        (changes.break_protocol, "passed", "appProtocol grpc makes Linkerd treat the port as opaque TCP"),
        (changes.break_opaque, "passed", "config.linkerd.io/opaque-ports of chat.ai has the port 8080 opaque"),
        (changes.break_opaque_http, "reset", "the port 8080 opaque, and appProtocol http says HTTP"),
        (changes.break_headless, "passed", "has no ClusterIP"),
        (changes.break_external, "elsewhere", "is another name for a host outside"),
        (changes.break_port, "reset", "the Service chat.ai has no port 8080"),
        (changes.break_apex, 503, "there is no Service chat.ai"),
        (changes.break_profile, "passed", "the ServiceProfile chat.ai.svc.cluster.local in ai decides instead"),
        (
            changes.break_profile_of_client,
            "passed",
            "the ServiceProfile chat.ai.svc.cluster.local in edge decides instead",
        ),
        (changes.break_overrides, "elsewhere", "the dstOverrides of the ServiceProfile"),
        (changes.break_grpc, "reset", "the GRPCRoute calls has the same parent"),
    ],
)
def test_what_turns_all_routes_off_is_told(harm: Any, outcome: Any, why: str) -> None:
    docs = applied()
    harm(docs)
    found = explained(docs, chat(x_beta="true"))
    assert found["route"] is None
    assert why in found["reason"]
    assert found["reset"] is (outcome == "reset")
    assert found["backend"] == ("chat.ai:8080" if outcome == "passed" else None)
    assert ("any pod of chat may answer" in found["reason"]) is (outcome == "passed")
    assert found["status"] == (outcome if isinstance(outcome, int) else None)


@pytest.mark.parametrize(
    ("refs", "status", "why"),
    [
        ([{"name": "gone", "port": 8080}], 500, "there is no Service gone.ai"),
        ([{"name": "chat-v1"}], 500, "it names no port"),
        (
            [{"name": "x", "kind": "InferencePool", "group": "inference.networking.k8s.io", "port": 1}],
            500,
            "is no Service",
        ),
        ([{"name": "chat-v1", "port": 8080, "filters": [{"type": "URLRewrite"}]}], 500, "no filter URLRewrite"),
        ([{"name": "chat-v1", "port": 9999}], 502, "has no port 9999, and its pods are dialled on that number"),
        ([{"name": "outside", "port": 8080}], 500, "is of type ExternalName"),
    ],
)
def test_backends_that_no_request_survives(refs: list[Doc], status: int, why: str) -> None:
    docs = applied()
    outside = {"type": "ExternalName", "externalName": "example.com", "ports": []}
    docs.append({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "outside", "namespace": "ai"}})
    docs[-1]["spec"] = outside
    one(docs, "HTTPRoute", "chat")["spec"]["rules"] = [{"backendRefs": refs}]
    found = explained(docs, chat(x_beta="true"))
    assert (found["backend"], found["status"]) == (None, status)
    assert why in found["reason"]
    refs = [*refs, {"name": "chat-v2", "port": 8080}]
    one(docs, "HTTPRoute", "chat")["spec"]["rules"] = [{"backendRefs": refs}]
    found = explained(docs, chat(x_beta="true"))
    assert found["backend"] is None
    assert f" answers {status}: " in found["reason"]


def test_the_port_on_which_pods_listen_is_reached_though_the_service_has_another() -> None:
    docs = applied()
    one(docs, "Service", "chat-v1")["spec"]["ports"] = [{"port": 80, "targetPort": 8080}]
    one(docs, "HTTPRoute", "chat")["spec"]["rules"] = [{"backendRefs": [{"name": "chat-v1", "port": 8080}]}]
    assert explained(docs, chat())["backend"] == "chat-v1.ai:8080"


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
    found = explained(docs, chat(x_beta="true"))
    assert found["reason"]
    assert json.loads(json.dumps(found)) == found

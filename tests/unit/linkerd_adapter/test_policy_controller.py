"""Where a cluster is not as its users think: which resources are not in force, and what comes of it."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from linkerd_adapter import route_selection
from linkerd_adapter.explain import ClientRequest
from linkerd_adapter.names import Service
from linkerd_adapter.policy_controller import Cluster

from extproc.headers import Headers
from tests.linkerd.live_cluster import Doc, applied, chat, explained, one
from tests.linkerd.trees import TREES


def break_kind(docs: list[Doc]) -> None:
    del one(docs, "HTTPRoute", "chat")["spec"]["parentRefs"][0]["kind"]


def break_status(docs: list[Doc]) -> None:
    conditions = one(docs, "HTTPRoute", "chat")["status"]["parents"][0]["conditions"]
    conditions[0] |= {"status": "False", "reason": "NoMatchingParent"}


def break_new(docs: list[Doc]) -> None:
    del one(docs, "HTTPRoute", "chat")["status"]


def break_one_of_two(docs: list[Doc]) -> None:
    """A status for each of two parents of one name; ours is the other."""
    route = one(docs, "HTTPRoute", "chat")
    (status,) = route["status"]["parents"]
    elsewhere = deepcopy(status)
    elsewhere["parentRef"]["port"] = 9090
    route["spec"]["parentRefs"].append(elsewhere["parentRef"])
    status["conditions"][0] |= {"status": "False", "reason": "NoMatchingParent"}
    route["status"]["parents"] = [elsewhere, status]


def break_filter(docs: list[Doc]) -> None:
    one(docs, "HTTPRoute", "chat")["spec"]["rules"][0]["filters"] = [{"type": "RequestMirror", "requestMirror": {}}]


def break_regex(docs: list[Doc]) -> None:
    header = one(docs, "HTTPRoute", "chat")["spec"]["rules"][0]["matches"][0]["headers"][0]
    header |= {"type": "RegularExpression", "value": "v(?=1)"}


def break_template(docs: list[Doc]) -> None:
    """A template of paths, where a pattern is wanted."""
    match = one(docs, "HTTPRoute", "chat")["spec"]["rules"][0]["matches"][0]
    match["path"] = {"type": "RegularExpression", "value": "/v1/models/{model}/infer"}


def break_path(docs: list[Doc]) -> None:
    one(docs, "HTTPRoute", "chat")["spec"]["rules"][0]["matches"][0]["path"] = {"type": "PathPrefix", "value": "v1"}


def break_header(docs: list[Doc]) -> None:
    headers = one(docs, "HTTPRoute", "chat")["spec"]["rules"][0]["matches"][0]["headers"]
    headers.append({"name": "x-team", "value": "Köln"})


def break_redirect(docs: list[Doc]) -> None:
    redirect = {"path": {"type": "ReplaceFullPath", "replaceFullPath": "v1"}}
    rule = one(docs, "HTTPRoute", "chat")["spec"]["rules"][0]
    rule["filters"] = [{"type": "RequestRedirect", "requestRedirect": redirect}]


def break_retries(docs: list[Doc]) -> None:
    one(docs, "HTTPRoute", "chat")["metadata"]["annotations"] = {"retry.linkerd.io/http": "502, 503"}


def break_timeout(docs: list[Doc]) -> None:
    one(docs, "HTTPRoute", "chat")["metadata"]["annotations"] = {"timeout.linkerd.io/request": "5"}


def break_kind_of_status(docs: list[Doc]) -> None:
    """The status is about a Gateway that has the Service's name."""
    one(docs, "HTTPRoute", "chat")["status"]["parents"][0]["parentRef"] = {"name": "chat"}


def break_consumer(docs: list[Doc]) -> None:
    one(docs, "HTTPRoute", "chat")["metadata"]["namespace"] = "elsewhere"


def break_shape(docs: list[Doc]) -> None:
    one(docs, "HTTPRoute", "chat")["spec"]["rules"] = {"not": "a list"}


@pytest.mark.parametrize(
    ("harm", "why"),
    [
        (break_kind, "write kind: Service"),
        (break_status, "it is not accepted: NoMatchingParent"),
        (break_one_of_two, "it is not accepted: NoMatchingParent"),
        (break_new, "its status has no word of this parent"),
        (break_kind_of_status, "its status has no word of this parent"),
        (break_filter, "it has no filter RequestMirror"),
        (break_regex, "looks around"),
        (break_template, "no whole number follows it"),
        (break_path, "its path 'v1' does not begin with /"),
        (break_header, "the value 'Köln' of x-team is not all visible ASCII"),
        (break_redirect, "leads to the path 'v1'"),
        (break_retries, "its annotation retry.linkerd.io/http can't be read: '502, 503'"),
        (break_timeout, "its annotation timeout.linkerd.io/request can't be read: '5'"),
        (break_consumer, "it is a consumer route"),
        (break_shape, "Expected `array`, got `object` - at `$.spec.rules`"),
    ],
)
def test_a_route_that_does_not_count_is_told_of(harm: Any, why: str) -> None:
    docs = applied()
    harm(docs)
    found = explained(docs, chat(x_beta="true"))
    assert found["backend"] == "chat.ai:8080"
    assert "any pod of chat may answer" in found["reason"]
    (ignored,) = found["ignored"]
    assert why in ignored["why"]


def add(docs: list[Doc], text: str) -> None:
    docs += yaml.safe_load_all(text)


def beside_gateway(docs: list[Doc]) -> None:
    """A Gateway of the Service's name, before it and with a status of its own controller's."""
    route = one(docs, "HTTPRoute", "chat")
    gateway = {"group": "gateway.networking.k8s.io", "kind": "Gateway", "name": "chat"}
    route["spec"]["parentRefs"].insert(0, gateway)
    refused = {"type": "Accepted", "status": "False", "reason": "NotAllowedByListeners"}
    route["status"]["parents"].insert(0, {"parentRef": gateway, "controllerName": "x/y", "conditions": [refused]})


def accepted_by_another(docs: list[Doc]) -> None:
    """Neither whose word a status is counts, nor the namespace in it."""
    (status,) = one(docs, "HTTPRoute", "chat")["status"]["parents"]
    status["controllerName"] = "example.com/other"
    status["parentRef"] = {"kind": "Service", "group": "", "name": "chat", "namespace": "elsewhere"}


def other_case(docs: list[Doc]) -> None:
    route = one(docs, "HTTPRoute", "chat")
    for ref in (route["spec"]["parentRefs"][0], *(b for r in route["spec"]["rules"] for b in r["backendRefs"])):
        ref |= {"kind": "service", "group": "Core"}


def annotation_of_another_kind(docs: list[Doc]) -> None:
    """Of GRPCRoutes, which Linkerd does not read here."""
    one(docs, "HTTPRoute", "chat")["metadata"]["annotations"] = {"retry.linkerd.io/grpc": "not at all"}


def profile_elsewhere(docs: list[Doc]) -> None:
    break_profile(docs)
    docs[-1]["metadata"]["namespace"] = "third"


def profile_without_routes(docs: list[Doc]) -> None:
    break_profile(docs)
    docs[-1]["spec"] = {"routes": [], "retryBudget": {}}


def profile_of_another(docs: list[Doc]) -> None:
    break_profile(docs)
    docs[-1]["metadata"]["name"] = "chat.ai.svcs.example.com"


@pytest.mark.parametrize(
    "change",
    [
        *(beside_gateway, accepted_by_another, other_case, annotation_of_another_kind),
        *(profile_elsewhere, profile_without_routes, profile_of_another),
    ],
)
def test_what_does_not_keep_a_route_from_counting(change: Any) -> None:
    docs = applied()
    change(docs)
    found = explained(docs, chat(x_beta="true"))
    assert (found["backend"], found["ignored"]) == ("chat-v2.ai:8080", [])


def break_protocol(docs: list[Doc]) -> None:
    one(docs, "Service", "chat")["spec"]["ports"][0]["appProtocol"] = "grpc"


def break_opaque(docs: list[Doc]) -> None:
    one(docs, "Service", "chat")["metadata"]["annotations"] = {"config.linkerd.io/opaque-ports": "25,8000-8090"}


def break_headless(docs: list[Doc]) -> None:
    one(docs, "Service", "chat")["spec"]["clusterIP"] = "None"


def break_port(docs: list[Doc]) -> None:
    one(docs, "Service", "chat")["spec"]["ports"][0]["port"] = 80


def break_apex(docs: list[Doc]) -> None:
    docs.remove(one(docs, "Service", "chat"))


def break_profile(docs: list[Doc]) -> None:
    add(
        docs,
        "{apiVersion: linkerd.io/v1alpha2, kind: ServiceProfile, metadata: {name: chat.ai.svc.cluster.local, "
        "namespace: ai}, spec: {routes: [{name: all}]}}",
    )


def break_profile_of_client(docs: list[Doc]) -> None:
    break_profile(docs)
    docs[-1]["metadata"]["namespace"] = "edge"


def break_overrides(docs: list[Doc]) -> None:
    break_profile(docs)
    docs[-1]["spec"] = {"dstOverrides": [{"authority": "chat-v1.ai.svc.cluster.local:8080"}]}


def break_opaque_http(docs: list[Doc]) -> None:
    break_opaque(docs)
    one(docs, "Service", "chat")["spec"]["ports"][0]["appProtocol"] = "http"


def break_external(docs: list[Doc]) -> None:
    one(docs, "Service", "chat")["spec"] |= {"type": "ExternalName", "externalName": "example.com"}


def break_grpc(docs: list[Doc]) -> None:
    route = one(docs, "HTTPRoute", "chat")
    docs.append({**deepcopy(route), "kind": "GRPCRoute", "metadata": {"name": "calls", "namespace": "ai"}})


@pytest.mark.parametrize(
    ("harm", "outcome", "why"),
    [
        (break_protocol, "passed", "appProtocol grpc makes Linkerd treat the port as opaque TCP"),
        (break_opaque, "passed", "config.linkerd.io/opaque-ports of chat.ai has the port 8080 opaque"),
        (break_opaque_http, "reset", "the port 8080 opaque, and appProtocol http says HTTP"),
        (break_headless, "passed", "has no ClusterIP"),
        (break_external, "elsewhere", "is another name for a host outside"),
        (break_port, "reset", "the Service chat.ai has no port 8080"),
        (break_apex, 503, "there is no Service chat.ai"),
        (break_profile, "passed", "the ServiceProfile chat.ai.svc.cluster.local in ai decides instead"),
        (break_profile_of_client, "passed", "the ServiceProfile chat.ai.svc.cluster.local in edge decides instead"),
        (break_overrides, "elsewhere", "the dstOverrides of the ServiceProfile"),
        (break_grpc, "reset", "the GRPCRoute calls has the same parent"),
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


def test_grpc_goes_by_the_grpc_route() -> None:
    docs = applied()
    break_grpc(docs)
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


PARENT = Service("ai", "chat")
REF = {"group": "", "kind": "Service", "name": "chat", "port": 8080}


def http_route(rule: Doc | None = None, **spec: Any) -> Doc:
    return {
        "apiVersion": "gateway.networking.k8s.io/v1",
        "kind": "HTTPRoute",
        "metadata": {"name": "r", "namespace": "ai"},
        "spec": {"parentRefs": [REF], "rules": [rule or {}], **spec},
    }


def test_a_pattern_of_exponential_time_in_python_is_judged() -> None:
    """It may come from a live route; Rust takes linear time for it."""
    value = {"type": "RegularExpression", "name": "x-a", "value": "(a+)+b"}
    routes, ignored = Cluster([http_route({"matches": [{"headers": [value]}]})], live=False).routes(PARENT, 8080, "ai")
    assert ignored == []
    for text, matched in (("a" * 2000, False), ("a" * 2000 + "b", True)):
        request = route_selection.Request("GET", "/", Headers.of([("x-a", text)]))
        assert (route_selection.select(routes, request) is not None) is matched


def test_a_pattern_that_can_not_be_judged_leaves_its_route_open() -> None:
    pattern = {"type": "RegularExpression", "value": r"\p{Greek}"}
    for match in ({"headers": [{"name": "a", **pattern}]}, {"path": pattern}):
        _, [ignored] = Cluster([http_route({"matches": [match]})], live=False).routes(PARENT, 8080, "ai")
        assert ignored.name == "r.ai"
        assert "nothing can be told of it here, and so nothing for sure of this request" in ignored.why


def test_a_route_is_converted_whole() -> None:
    rule = {
        "matches": [
            {
                "path": {"type": "Exact", "value": "/a"},
                "method": "POST",
                "headers": [{"name": "x", "value": "1"}],
                "queryParams": [{"name": "q", "value": "2", "type": "RegularExpression"}],
            }
        ],
        "filters": [{"type": "RequestRedirect"}],
        "backendRefs": [{"name": "v1", "port": 80, "weight": 3}, {"name": "v2", "namespace": "ml", "port": 81}],
    }
    [route], _ = Cluster([http_route(rule, hostnames=["a.ai"])], live=False).routes(PARENT, 8080, "ai")
    match = route_selection.Match(
        route_selection.PathMatch("Exact", "/a"),
        (route_selection.ValueMatch("x", "1"),),
        (route_selection.ValueMatch("q", "2", regex=True),),
        "POST",
    )
    backends = (route_selection.Backend("ai", "v1", 80, 3), route_selection.Backend("ml", "v2", 81))
    assert route.rules == (route_selection.Rule((match,), backends, redirect=True),)
    assert (route.namespace, route.name, route.hosts) == ("ai", "r", ("a.ai",))


@pytest.mark.parametrize(
    ("ref", "port", "counts"),
    [(REF, 8080, True), (REF, 8081, False), ({**REF, "name": "x"}, 8080, False), ({**REF, "port": None}, 8081, True)],
)
def test_the_ports_of_a_parent(ref: Doc, port: int, *, counts: bool) -> None:
    assert bool(Cluster([http_route(parentRefs=[ref])], live=False).routes(PARENT, port, "ai")[0]) is counts


@given(st.lists(TREES, max_size=4))
def test_no_tree_breaks_it(trees: list[Any]) -> None:
    cluster = Cluster(trees, live=True)
    routes, _ = cluster.routes(PARENT, 8080, "edge")
    cluster.routes_disabled(PARENT, 8080, "edge")
    assert all(route.namespace in ("ai", "edge") for route in routes)

"""Where a cluster is not as its users think: which resources are not in force, and what comes of it."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from linkerd_adapter import route_selection
from linkerd_adapter.names import Service
from linkerd_adapter.policy_controller import Cluster, IgnoredResource, RoutesDisabled

from extproc.headers import Headers
from tests.linkerd import changes
from tests.linkerd.live_cluster import Doc, applied, chat, explained
from tests.linkerd.resources import ACCEPTED, GATEWAY, PARENT, REF, condition, http_route, profile, service, slice_of
from tests.linkerd.trees import TREES


@pytest.mark.parametrize(
    ("harm", "why"),
    [
        (changes.break_kind, "its parentRef means a Gateway of core"),
        (changes.break_status, "it is not accepted: NoMatchingParent"),
        (changes.break_one_of_two, "it is not accepted: NoMatchingParent"),
        (changes.break_new, "its status has no word of this parent"),
        (changes.break_kind_of_status, "its status has no word of this parent"),
        (changes.break_filter, "it has no filter RequestMirror"),
        (changes.break_regex, "looks around"),
        (changes.break_template, "no whole number follows it"),
        (changes.break_path, "its path 'v1' does not begin with /"),
        (changes.break_header, "the value 'Köln' of x-team is not all visible ASCII"),
        (changes.break_redirect, "leads to the path 'v1'"),
        (changes.break_retries, "its annotation retry.linkerd.io/http can't be read: '502, 503'"),
        (
            changes.break_timeout,
            "timeout.linkerd.io/request can't be read: '5', where it takes a whole number with one of",
        ),
        (changes.break_consumer, "it is a consumer route"),
        (changes.break_shape, "Expected `array`, got `object` - at `$.spec.rules`"),
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
    assert "chat" in ignored["route"]


@pytest.mark.parametrize(
    "change",
    [
        *(changes.beside_gateway, changes.accepted_by_another, changes.other_case, changes.annotation_of_another_kind),
        *(changes.profile_elsewhere, changes.profile_without_routes, changes.profile_of_another),
    ],
)
def test_what_does_not_keep_a_route_from_counting(change: Any) -> None:
    docs = applied()
    change(docs)
    found = explained(docs, chat(x_beta="true"))
    assert (found["backend"], found["ignored"]) == ("chat-v2.ai:8080", [])


def converted(*docs: Doc, live: bool = False) -> list[route_selection.Route]:
    routes, ignored = Cluster(docs, live=live).routes(PARENT, 8080, "ai")
    assert ignored == []
    return routes


def ignored_because(*docs: Doc, live: bool = False) -> str:
    routes, [ignored] = Cluster(docs, live=live).routes(PARENT, 8080, "ai")
    assert routes == []
    assert ignored.name == f"r.{docs[0]['metadata']['namespace']}"
    return ignored.why


def disabled(*docs: Doc, port: int = 8080, client: str = "edge", grpc: bool = False) -> RoutesDisabled | None:
    return Cluster(docs, live=True).routes_disabled(PARENT, port, client, grpc=grpc)


def test_a_pattern_of_exponential_time_in_python_is_judged() -> None:
    """It may come from a live route; Rust takes linear time for it."""
    value = {"type": "RegularExpression", "name": "x-a", "value": "(a+)+b"}
    routes = converted(http_route({"matches": [{"headers": [value]}]}))
    for text, matched in (("a" * 2000, False), ("a" * 2000 + "b", True)):
        request = route_selection.Request("GET", "/", Headers.of([("x-a", text)]))
        assert (route_selection.select(routes, request) is not None) is matched


def test_a_pattern_that_can_not_be_judged_leaves_its_route_open() -> None:
    pattern = {"type": "RegularExpression", "value": r"\p{Greek}"}
    for match in ({"headers": [{"name": "a", **pattern}]}, {"path": pattern}):
        why = ignored_because(http_route({"matches": [match]}))
        assert "nothing can be told of it here, and so nothing for sure of this request" in why


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
    [route] = converted(http_route(rule, hostnames=["a.ai"]))
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


def test_a_path_is_no_pattern_unless_its_type_says_so() -> None:
    for kind in ("Exact", "PathPrefix"):
        assert converted(http_route({"matches": [{"path": {"type": kind, "value": "/("}}]}))
    assert converted(http_route({"matches": [{"headers": [{"name": "x", "value": "("}]}]}))


@pytest.mark.parametrize("kind", ["RequestHeaderModifier", "ResponseHeaderModifier"])
def test_of_all_filters_only_a_redirect_redirects(kind: str) -> None:
    [route] = converted(http_route({"filters": [{"type": kind}]}))
    assert not route.rules[0].redirect


@pytest.mark.parametrize(
    ("refs", "why"),
    [
        ([{"name": "chat"}], "a Gateway of gateway.networking.k8s.io"),
        ([{**REF, "kind": "Pod"}], "a Pod of core"),
        ([{**REF, "kind": "ServiceImport", "group": "x.io"}], "a ServiceImport of x.io"),
        ([{**REF, "kind": "ServiceImport"}], "a ServiceImport of core"),
        ([{**REF, "group": "serving.knative.dev"}], "a Service of serving.knative.dev"),
        ([{**REF, "kind": "Pod"}, GATEWAY], "a Pod of core"),
    ],
)
def test_what_a_parent_is_instead_of_a_service(refs: list[Doc], why: str) -> None:
    assert ignored_because(http_route(parentRefs=refs)) == (
        f"its parentRef means {why}: write kind: Service and group: core"
    )


@pytest.mark.parametrize("place", ["name", "namespace"])
@pytest.mark.parametrize("other", ["aaa", "zzz"])
def test_a_route_of_another_parent_is_not_spoken_of(place: str, other: str) -> None:
    cluster = Cluster([http_route(parentRefs=[{**REF, place: other}])], live=False)
    assert cluster.routes(PARENT, 8080, "ai") == ([], [])


def test_a_fault_of_the_route_is_told_before_whose_clients_it_is_for() -> None:
    route = http_route(parentRefs=[{**GATEWAY, "namespace": "ai"}])
    route["metadata"]["namespace"] = "third"
    assert "a Gateway of" in ignored_because(route)
    route["spec"]["parentRefs"] = [{**REF, "namespace": "ai"}]
    assert ignored_because(route) == (
        "it is a consumer route: it holds for clients in its own namespace, and this one is in ai"
    )
    assert Cluster([route], live=False).routes(PARENT, 8080, "third")[1] == []


@pytest.mark.parametrize(
    ("statuses", "why"),
    [
        ([[condition("False", "NoMatchingParent")]], "it is not accepted: NoMatchingParent"),
        ([[condition("Unknown", "Pending")]], "it is not accepted: Pending"),
        ([[condition("False", "first")], [condition("False", "second")], []], "it is not accepted: first"),
        ([[condition("True", "", "AIReady"), condition("False", "no"), condition("True", "", "ResolvedRefs")]],
         "it is not accepted: no"),
        ([[condition("True", "", "ResolvedRefs"), condition("False", "no")]], "it is not accepted: no"),
        ([[]], "it is not accepted: it says nothing of it"),
        ([], "its status has no word of this parent"),
        (None, "its status has no word of this parent"),
    ],
)  # fmt: skip
def test_why_a_route_is_not_accepted(statuses: list[list[Doc]] | None, why: str) -> None:
    route = http_route()
    if statuses is not None:
        route["status"] = {"parents": [{"parentRef": REF, "conditions": conditions} for conditions in statuses]}
    assert ignored_because(route, live=True) == why
    assert converted(route)  # of a rendering no controller has had its say yet


@pytest.mark.parametrize(("place", "other"), [("name", "aaa"), ("name", "zzz"), ("port", 8079), ("port", 8081)])
def test_a_status_of_another_parent_does_not_count(place: str, other: str | int) -> None:
    statuses = [{"parentRef": ref, "conditions": [condition("True")]} for ref in ({**REF, place: other}, GATEWAY)]
    route = {**http_route(), "status": {"parents": statuses}}
    assert ignored_because(route, live=True) == "its status has no word of this parent"
    statuses.append({"parentRef": {**REF, "port": None}, "conditions": [condition("False"), condition("True")]})
    statuses.append({"parentRef": REF, "conditions": [condition("True")]})
    assert converted(route, live=True)


def test_backends_that_are_there_are_as_the_route_names_them() -> None:
    """Whatever is known of them. A load balancer has a ClusterIP too; a headless Service need have no ports."""
    refs = [{"name": name, "port": 80, "weight": 2} for name in ("a", "b", "elsewhere")]
    docs = [service({"port": 79}, {"port": 80}, {"port": 81}, name="a", type="LoadBalancer"), service(name="b")]
    [route] = converted(http_route({"backendRefs": refs}), *docs)
    assert route.rules[0].backends == tuple(route_selection.Backend("ai", str(ref["name"]), 80, 2) for ref in refs)


@pytest.mark.parametrize(
    ("ref", "broken", "status"),
    [
        ({"name": "v1"}, "it names no port", 500),
        ({"name": "x", "kind": "InferencePool", "port": 1}, "InferencePool is no Service", 500),
        ({"name": "v1", "port": 80, "group": "x.io"}, "Service is no Service", 500),
        ({"name": "v1", "port": 80, "filters": [{"type": "Z"}]}, "Linkerd can't convert it: it has no filter Z", 500),
        ({"name": "out", "port": 80}, "the Service out is of type ExternalName", 500),
        ({"name": "v1", "port": 81}, "the Service v1 has no port 81, and its pods are dialled on that number", 502),
        ({"name": "v1", "port": 8080}, "", 500),  # its pods are dialled on that number, and listen there
    ],
)
def test_what_the_proxy_answers_in_a_backend_s_place(ref: Doc, broken: str, status: int) -> None:
    docs = [service({"port": 80, "targetPort": 8080}, name="v1"), service(name="out", type="ExternalName")]
    [route] = converted(http_route({"backendRefs": [ref]}), *docs)
    expected = route_selection.Backend("ai", ref["name"], ref.get("port", 0), 1, broken, status)
    assert route.rules[0].backends == (expected,)


def test_only_in_a_cluster_a_service_can_be_missing() -> None:
    route = {**http_route({"backendRefs": [{"name": "gone", "port": 80}]}), "status": ACCEPTED}
    for live, broken in ((False, ""), (True, "there is no Service gone.ai")):
        [found] = converted(route, service(name="b"), live=live)
        assert found.rules[0].backends[0].broken == broken


OPAQUE = "config.linkerd.io/opaque-ports"
HTTP = {"port": 8080, "appProtocol": "HTTP"}


@pytest.mark.parametrize(
    "docs",
    [
        [],
        [service({"port": 8080})],
        [service(HTTP, clusterIP="fd00::1", type="NodePort"), service(HTTP, name="zzz", clusterIP="None")],
        [service({"port": 8079, "appProtocol": "grpc"}, HTTP, {"port": 8081, "appProtocol": "grpc"})],
        [service(HTTP, annotations={OPAQUE: "80,8081-8090"})],
        [{**http_route(parentRefs=[{**REF, "name": "x"}]), "kind": "GRPCRoute", "status": ACCEPTED}],
        [{**http_route(parentRefs=[GATEWAY]), "kind": "GRPCRoute", "status": ACCEPTED}],
        [{**http_route(), "kind": "GRPCRoute"}],  # not accepted
        [{**http_route(), "kind": "GRPCRoute", "status": ACCEPTED, "apiVersion": "policy.linkerd.io/v1beta3"}],
    ],
)
def test_where_routes_are_in_force(docs: list[Doc]) -> None:
    assert disabled(*docs) is None


def test_a_list_of_opaque_ports_stands_in_the_place_of_linkerd_s_own() -> None:
    assert disabled(service({"port": 25}), port=25) is not None
    assert disabled(service({"port": 25}, annotations={OPAQUE: ""}), port=25) is None


@pytest.mark.parametrize(
    ("port", "changed", "outcome", "why"),
    [
        (25, {}, "passed", "Linkerd's default has the port 25 opaque, without routes"),
        (
            80,
            {"annotations": {OPAQUE: "25,79-81"}},
            "passed",
            f"{OPAQUE} of chat.ai has the port 80 opaque, without routes",
        ),
        (82, {}, "passed", "appProtocol grpc makes Linkerd treat the port as opaque TCP, without routes"),
        (
            443,
            {"annotations": {OPAQUE: "443"}},
            "reset",
            f"{OPAQUE} of chat.ai has the port 443 opaque, and appProtocol HTTP says HTTP",
        ),
        (83, {}, "reset", "the Service chat.ai has no port 83"),
        (80, {"clusterIP": "None"}, "passed", "the Service chat.ai has no ClusterIP, by which Linkerd would know it"),
        (
            80,
            {"type": "ExternalName"},
            "elsewhere",
            "the Service chat.ai is another name for a host outside, without a ClusterIP",
        ),
        (80, {"name": "other"}, "unreachable", "there is no Service chat.ai"),
    ],
)
def test_what_keeps_all_routes_out_of_force(port: int, changed: Doc, outcome: Any, why: str) -> None:
    ports = ({"port": 25}, {"port": 80}, {"port": 82, "appProtocol": "grpc"}, {"port": 443, "appProtocol": "HTTP"})
    assert disabled(service(*ports, **changed), port=port) == RoutesDisabled(why, outcome)


def test_the_client_s_own_profile_comes_first() -> None:
    some: Doc = {"routes": [{}]}
    others = [profile("edge", "aaa.ai.svc.cluster.local", **some), profile("edge"), profile("aaa", **some)]
    own, general = profile("edge", **some), profile("ai", dstOverrides=[{}], routes=[{}])
    assert disabled(*others) is None
    why = "the ServiceProfile chat.ai.svc.cluster.local in edge decides instead of HTTPRoutes"
    assert disabled(*others, general, own) == RoutesDisabled(why)
    found = disabled(*others, general, own, client="other")
    assert found is not None
    assert found.outcome == "elsewhere"


def test_the_port_is_judged_before_profiles_and_those_before_grpc_routes() -> None:
    docs = [{**http_route(), "kind": "GRPCRoute", "status": ACCEPTED}]
    why = "the GRPCRoute r has the same parent, and then HTTPRoutes don't count"
    assert disabled(*docs) == RoutesDisabled(why, "reset")
    assert disabled(*docs, grpc=True) == RoutesDisabled(why, "elsewhere")
    for doc, why in ((profile("ai", routes=[{}]), "ServiceProfile"), (service(clusterIP="None"), "ClusterIP")):
        docs.append(doc)
        found = disabled(*docs)
        assert found is not None
        assert why in found.why


@pytest.mark.parametrize(
    ("protocol", "only"),
    [
        (None, False),
        ("http", False),
        ("kubernetes.io/h2c", True),
        ("Kubernetes.io/H2C", True),
        ("kubernetes.io/ws", False),
    ],
)
def test_which_ports_take_http_2_only(protocol: str | None, *, only: bool) -> None:
    others = [{"port": port, "appProtocol": None if only else "kubernetes.io/h2c"} for port in (8079, 8081)]
    cluster = Cluster([service(*others, {"port": 8080, "appProtocol": protocol})], live=True)
    assert cluster.http2_only(PARENT, 8080) is only
    assert not cluster.http2_only(Service("ai", "gone"), 8080)


def test_a_backend_is_available_by_one_ready_endpoint_in_any_of_its_slices() -> None:
    slices = [slice_of(None, True), slice_of("down", False, False), slice_of("none")]
    slices += [slice_of("new", None), slice_of("two", False), slice_of("two", False, True)]
    live, rendered = (Cluster(slices, live=live) for live in (True, False))
    for name, available in {"down": False, "none": False, "gone": False, "new": True, "two": True}.items():
        assert live.available(route_selection.Backend("ai", name, 80)) is available
        assert live.available(route_selection.Backend("elsewhere", name, 80))
        assert rendered.available(route_selection.Backend("ai", name, 80))


def test_what_can_not_be_read_is_listed_by_kind_and_name() -> None:
    foreign = {**http_route(spec=1), "apiVersion": "example.com/v1"}
    docs: list[Any] = [None, "text", foreign, {**http_route(), "metadata": {"name": "bad", "namespace": 7}}]
    docs += [{"apiVersion": "v1", "kind": "Service", "metadata": [], "spec": {}}, service({"port": 8080})]
    cluster = Cluster([*docs, http_route()], live=True)
    assert cluster.unreadable == [
        IgnoredResource("HTTPRoute bad", "Expected `str`, got `int` - at `$.metadata.namespace`"),
        IgnoredResource("Service None", "Expected `object`, got `array` - at `$.metadata`"),
    ]
    assert disabled(*docs) is None


def test_nulls_are_absent_fields_and_timestamps_texts() -> None:
    """``creationTimestamp: null`` is in what kubectl writes without a server; PyYAML reads a time as a datetime."""
    rule = {"matches": [{"method": None, "headers": None, "path": {"type": None, "value": "/v1"}}], "filters": None}
    route = http_route(rule, hostnames=None)
    made = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    for created, text in ((None, ""), (made, "2026-01-02T03:04:05Z"), ("2026-01-02T03:04:05Z", "2026-01-02T03:04:05Z")):
        route["metadata"]["creationTimestamp"] = created
        [found] = converted(route)
        assert found.created == text
        assert found.rules == (
            route_selection.Rule((route_selection.Match(route_selection.PathMatch("PathPrefix", "/v1")),)),
        )


def test_equal_reasons_count_as_one() -> None:
    """As where several requests are explained, and each reason is to be told once."""
    cluster = Cluster([service(clusterIP="None"), http_route(parentRefs=[GATEWAY])], live=True)
    found = [cluster.routes_disabled(PARENT, 8080, client) for client in ("ai", "edge")]
    ignored = [reason for client in ("ai", "ai") for reason in cluster.routes(PARENT, 8080, client)[1]]
    assert (len(set(found)), len(set(ignored))) == (1, 1)


@given(st.lists(TREES, max_size=4))
def test_no_tree_breaks_it(trees: list[Any]) -> None:
    cluster = Cluster(trees, live=True)
    routes, _ = cluster.routes(PARENT, 8080, "edge")
    cluster.routes_disabled(PARENT, 8080, "edge")
    assert all(route.namespace in ("ai", "edge") for route in routes)

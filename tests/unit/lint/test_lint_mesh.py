"""All resources together: what hosts, policies and filters are found by."""

from __future__ import annotations

import pytest

from extproc.lint.mesh import covers, fqdn, read, routing
from tests.lint.corpus import mesh
from tests.lint.istio_objects import (
    PER_ROUTE,
    cluster_patch,
    envoy_filter,
    ext_proc,
    host_patch,
    http_filter,
    resource,
)


@pytest.mark.parametrize(
    ("host", "full"),
    [
        ("llama", "llama.ai.svc.cluster.local"),
        ("llama.ai", "llama.ai"),
        ("api.example.com", "api.example.com"),
        ("*", "*"),
        ("*.example.com", "*.example.com"),
        ("", ""),
    ],
)
def test_only_names_without_a_dot_are_completed(host: str, full: str) -> None:
    assert fqdn(host, "ai") == full


@pytest.mark.parametrize(
    ("pattern", "host", "covered"),
    [
        ("*", "anything", True),
        ("a.b", "a.b", True),
        ("a.b", "x.a.b", False),
        ("*.example.com", "api.example.com", True),
        ("*.example.com", "a.b.example.com", True),
        ("*.example.com", "example.com", False),
        ("*.example.com", "badexample.com", False),
        ("*example.com", "api.example.com", False),
    ],
)
def test_patterns_of_hosts(pattern: str, host: str, covered: bool) -> None:
    assert covers(pattern, host) is covered


@pytest.mark.parametrize(
    ("header", "is_one"),
    [("x-model-version", True), ("X-GPU-Pool", True), ("x-ai-anything", True), ("x-user", False), ("x-models", False)],
)
def test_routing_headers(header: str, is_one: bool) -> None:
    assert routing(header) is is_one


@pytest.mark.parametrize(
    ("host", "serves"),
    [
        ("vllm-7b.ai.svc.cluster.local", True),
        ("llama3.ai.svc.cluster.local", True),
        ("my-model.ai.svc.cluster.local", True),
        ("tgi.ai.svc.cluster.local", True),
        ("tgif.ai.svc.cluster.local", False),
        ("modelling.ai.svc.cluster.local", False),
        ("shop.llama.svc.cluster.local", False),
        ("shop.ai.svc.cluster.local", False),
    ],
)
def test_model_servers_by_their_names(host: str, serves: bool) -> None:
    assert mesh("").serves_models(host) is serves


def test_a_policy_names_a_model_server() -> None:
    found = mesh(resource("ModelInferencePolicy", host="shop.ai.svc.cluster.local"))
    assert found.serves_models("shop.ai.svc.cluster.local")
    assert not found.serves_models("other.ai.svc.cluster.local")


def test_objects_of_a_host() -> None:
    text = (
        resource("Service", "llama")
        + resource("DestinationRule", "short", host="llama")
        + resource("DestinationRule", "wide", "web", host="*.ai.svc.cluster.local")
        + resource("DestinationRule", "elsewhere", "web", host="llama")
        + resource("ServiceEntry", "outside", hosts=["a.example.com", "*.models.com"])
    )
    found = mesh(text)
    host = "llama.ai.svc.cluster.local"
    assert [rule.name for rule in found.destination_rules(host)] == ["short", "wide"]
    service = found.service(host)
    assert service
    assert service.name == "llama"
    assert found.service("llama.web.svc.cluster.local") is None
    assert [entry.name for entry in found.service_entries("x.models.com")] == ["outside"]
    assert found.service_entries("example.com") == []


def test_filters_clusters_and_processors() -> None:
    text = envoy_filter(
        http_filter(ext_proc()),
        http_filter({"@type": "a.B"}, name="own"),
        http_filter(ext_proc(), name="gone", operation="REMOVE"),
        cluster_patch("processor"),
    ) + resource("WasmPlugin", "auth")
    found = mesh(text)
    assert {"models.route", "own", "extensions.istio.io/wasmplugin/ai.auth"} <= found.filter_names
    assert "gone" not in found.filter_names
    assert list(found.added_clusters) == ["processor"]
    assert [processor.name for processor in found.processors] == ["models.route", "gone"]


def test_a_processor_sees_requests_on_some_host_only() -> None:
    answers = {"request_header_mode": "SKIP", "response_body_mode": "STREAMED"}
    bodies = {"processing_mode": {"request_body_mode": "BUFFERED"}}
    filtered = http_filter(ext_proc(processing_mode=answers))
    other = host_patch({"other": {"@type": PER_ROUTE, "overrides": bodies}})
    own = host_patch({"models.route": {"@type": PER_ROUTE, "overrides": bodies}})
    for patches, sees in (((filtered,), False), ((filtered, other), False), ((filtered, own), True)):
        found = mesh(envoy_filter(*patches))
        assert found.sees_requests(found.processors[0]) is sees
        assert len(found.modes(found.processors[0])) == 1 + sees


def test_headers_by_which_routes_go_have_their_first_place() -> None:
    match = {"headers": {"X-Model-Version": {"exact": "a"}, "x-user": {"exact": "b"}}}
    text = resource("VirtualService", http=[{"match": [match]}, {"match": [match]}])
    assert {name: place.path for name, place in mesh(text).matched_headers.items()} == {
        "x-model-version": "spec.http[0].match[0].headers.X-Model-Version"
    }


def test_kinds_in_the_order_of_the_files() -> None:
    found = mesh(resource("Sidecar", "b") + resource("Service", "x") + resource("Sidecar", "a"))
    assert [sidecar.name for sidecar in found.of("Sidecar")] == ["b", "a"]
    assert found.of("Nothing") == ()


@pytest.mark.parametrize("text", ["apiVersion: v1", "spec: {}", "kind: {}"])
def test_a_manifest_without_a_kind_is_a_problem(text: str) -> None:
    resources, problems = read([("f", text)])
    assert resources == []
    assert problems[0].message == "is no Kubernetes manifest: it has no kind"


@pytest.mark.parametrize("text", ["[a, b]", "a: 1", "just a text", "# nothing"])
def test_what_is_no_manifest_is_left_out(text: str) -> None:
    assert read([("f", text)]) == ([], [])


def test_manifests_without_a_namespace_are_in_the_default_one() -> None:
    (bare,), _ = read([("f", "kind: Service\nmetadata: {name: a}")])
    assert bare.key == ("default", "a")


def test_typed_lists_are_read() -> None:
    resources, _ = read([("f", "apiVersion: v1\nkind: ServiceList\nitems: [{metadata: {name: a}}]")])
    assert [(r.kind, r.name) for r in resources] == [("Service", "a")]

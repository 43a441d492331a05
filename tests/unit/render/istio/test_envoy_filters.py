"""EnvoyFilters: which proxies get which patches, in which order, and what each of them contains."""

from __future__ import annotations

from typing import Literal

import pytest

from extproc.policy.gpu import Gpu
from extproc.policy.snapshot import GpuPool, Policy, Snapshot
from extproc.render.istio.envoy_filters import ANCHOR, CLIENT_HEADERS, envoy_filters
from extproc.render.istio.istio_options import IstioOptions, ProxyKind
from extproc.render.istio.provenance import metadata
from tests.unit.render.snapshots import CANARY, PLAIN, Doc, policy

OURS = ["aimesh.admitted", "aimesh.route", "aimesh.sampled", "aimesh.observe"]
SERVICE = "aimesh-extproc.aimesh-system.svc.cluster.local"
UNIX = ("unix:///run/p.sock",)
REPORTING = (GpuPool("west", Gpu(), metrics_type="vllm"),)


def only(kind: ProxyKind, snapshot: Snapshot = CANARY, **options: object) -> Doc:
    (found,) = envoy_filters(snapshot, IstioOptions(proxies=(kind,), **options))  # type: ignore[arg-type]
    return found


def patches(document: Doc, apply_to: str) -> list[Doc]:
    return [patch for patch in document["spec"]["configPatches"] if patch["applyTo"] == apply_to]


def added(document: Doc) -> dict[str, Doc]:
    """Filters that are inserted, by their names."""
    return {patch["patch"]["value"]["name"]: patch["patch"]["value"] for patch in patches(document, "HTTP_FILTER")}


@pytest.mark.parametrize(
    ("options", "found"),
    [
        (IstioOptions(), [("aimesh-gateway", "istio-ingress"), ("aimesh-sidecar", "ai")]),
        (IstioOptions(proxies=("sidecar",), callers="web"), [("aimesh-sidecar", "web")]),
        (IstioOptions(proxies=("waypoint",)), [("aimesh-waypoint", "ai")]),
        (IstioOptions(proxies=("inbound",)), []),
    ],
)
def test_one_for_each_kind_of_proxy_and_namespace(options: IstioOptions, found: list[tuple[str, str]]) -> None:
    metadata = [one["metadata"] for one in envoy_filters(CANARY, options)]
    assert [(one["name"], one["namespace"]) for one in metadata] == found
    assert envoy_filters(Snapshot(), options) == []


def test_sidecars_of_every_namespace_with_policies() -> None:
    both = Snapshot((*CANARY.policies, Policy("b", "ml", host="b", models=("b",))))
    found = envoy_filters(both, IstioOptions(proxies=("sidecar", "waypoint")))
    assert [one["metadata"]["namespace"] for one in found] == ["ai", "ml", "ai", "ml"]


@pytest.mark.parametrize("kind", ["gateway", "sidecar", "waypoint"])
def test_filters_stand_before_the_anchor_in_order(kind: ProxyKind) -> None:
    document = only(kind)
    assert list(added(document)) == [*OURS, *(["aimesh.answer"] if kind == "waypoint" else [])]
    for patch in patches(document, "HTTP_FILTER"):
        assert patch["patch"]["operation"] == "INSERT_BEFORE"
        assert patch["match"]["listener"]["filterChain"]["filter"]["subFilter"] == {"name": ANCHOR}
    assert all(one.get("disabled", False) is (kind != "waypoint") for one in added(document).values())
    assert document["spec"]["priority"] == 10


def test_where_servers_report_load_they_are_asked_for_it() -> None:
    document = only("gateway", Snapshot(CANARY.policies, REPORTING))
    assert list(added(document)) == [OURS[0], "aimesh.load", *OURS[1:]]
    (host,) = patches(document, "VIRTUAL_HOST")
    assert "aimesh.load" in host["patch"]["value"]["typed_per_filter_config"]


def test_the_gateway_is_the_one_of_the_options() -> None:
    document = only("gateway", gateway="edge/public", gateway_labels=(("app", "edge"),), hosts=("a", "b"))
    assert document["metadata"]["namespace"] == "edge"
    assert document["spec"]["workloadSelector"] == {"labels": {"app": "edge"}}
    vhosts = [patch["match"]["routeConfiguration"]["vhost"] for patch in patches(document, "VIRTUAL_HOST")]
    assert vhosts == [{"domainName": "a"}, {"domainName": "b"}]


def test_sidecars_have_the_filters_on_ports_of_models_for_their_hosts() -> None:
    both = Snapshot((*CANARY.policies, Policy("b", "ai", host="b", port=80, models=("b",))))
    document = only("sidecar", both)
    ports = [patch["match"]["listener"]["portNumber"] for patch in patches(document, "NETWORK_FILTER")]
    assert ports == [8080, 80]
    vhosts = [patch["match"]["routeConfiguration"]["vhost"]["name"] for patch in patches(document, "VIRTUAL_HOST")]
    assert vhosts == ["chat.ai.svc.cluster.local:8080", "b.ai.svc.cluster.local:80"]
    assert "workloadSelector" not in document["spec"]


def test_a_waypoint_is_named() -> None:
    spec = only("waypoint", waypoint="wp")["spec"]
    assert spec["targetRefs"] == [{"group": "gateway.networking.k8s.io", "kind": "Gateway", "name": "wp"}]


def test_a_waypoint_gets_nothing_by_its_routes_which_istiod_does_not_patch() -> None:
    document = only("waypoint")
    assert patches(document, "VIRTUAL_HOST") == patches(document, "HTTP_ROUTE") == []
    (listener,) = patches(document, "LISTENER")
    assert listener["match"]["listener"] == {"name": "main_internal"}
    assert listener["patch"]["value"]["per_connection_buffer_limit_bytes"] > 8 << 20
    answer = added(document)["aimesh.answer"]["typed_config"]["mutations"]["response_mutations"]
    assert {"remove": "x-model-version"} in answer


def test_a_host_switches_the_filters_on() -> None:
    (patch,) = patches(only("gateway"), "VIRTUAL_HOST")
    value = patch["patch"]["value"]
    assert sorted(value["typed_per_filter_config"]) == sorted(OURS)
    assert {one["@type"] for one in value["typed_per_filter_config"].values()} == {
        "type.googleapis.com/envoy.config.route.v3.FilterConfig"
    }
    assert value["request_body_buffer_limit"] > 8 << 20
    assert "response_headers_to_add" in value


@pytest.mark.parametrize(("body", "modes"), [("buffered", ["STREAMED"]), ("streamed", [])])
def test_bodies_of_grpc_calls_are_streamed(body: Literal["buffered", "streamed"], modes: list[str]) -> None:
    found = patches(only("gateway", body=body), "HTTP_ROUTE")
    assert [
        one["patch"]["value"]["typed_per_filter_config"]["aimesh.route"]["config"]["overrides"]["processing_mode"][
            "request_body_mode"
        ]
        for one in found
    ] == modes
    assert all(one["match"]["routeConfiguration"]["vhost"]["route"] == {"name": "chat-default-grpc"} for one in found)


def test_client_headers_are_removed_early_and_requests_have_a_time_limit() -> None:
    (patch,) = patches(only("gateway"), "NETWORK_FILTER")
    manager = patch["patch"]["value"]["typed_config"]
    assert "name" not in patch["patch"]["value"]
    assert manager["request_timeout"] == "300s"
    (early,) = manager["early_header_mutation_extensions"]
    assert {"remove": "x-model-version"} in early["typed_config"]["mutations"]


def test_an_allowed_pin_is_announced_to_the_linter() -> None:
    pinned = Snapshot((policy(allow_pin=True, selector=(("app", "chat"),)),))
    found = envoy_filters(pinned, IstioOptions(proxies=("gateway", "inbound")))
    gateway, inbound = (one["metadata"].get("annotations", {}) for one in found)
    assert gateway[CLIENT_HEADERS] == "x-model-version"
    assert CLIENT_HEADERS not in inbound, "which removes nothing"
    assert CLIENT_HEADERS not in only("gateway")["metadata"]["annotations"]


def test_a_service_is_referenced_and_anything_else_is_a_cluster() -> None:
    document = only("gateway")
    assert patches(document, "CLUSTER") == []
    annotations = document["metadata"]["annotations"]
    assert annotations["envoyfilter.istio.io/referenced-services"] == f"aimesh-system/{SERVICE}"
    document = only("gateway", processors=UNIX)
    (cluster,) = patches(document, "CLUSTER")
    assert cluster["patch"]["operation"] == "ADD"
    assert cluster["patch"]["value"]["name"] == "aimesh-processor"
    assert "annotations" not in document["metadata"]


def test_filters_say_what_they_were_rendered_from() -> None:
    options = IstioOptions(proxies=("gateway",))
    (document,) = envoy_filters(CANARY, options)
    provenance = {"key": "x-aimesh-rendered-from", "value": metadata(CANARY, options)}
    route, observe = added(document)["aimesh.route"], added(document)["aimesh.observe"]
    inner = observe["typed_config"]["extension_config"]
    assert route["typed_config"]["grpc_service"]["initial_metadata"] == [provenance]
    assert provenance in inner["typed_config"]["grpc_service"]["initial_metadata"]


@pytest.mark.parametrize("kind", ["gateway", "sidecar", "waypoint"])
def test_the_observer_says_that_the_access_log_counts(kind: ProxyKind) -> None:
    document = only(kind, namespace="ai")
    inner = added(document)["aimesh.observe"]["typed_config"]["extension_config"]["typed_config"]
    assert {"key": "x-aimesh-account", "value": "access-log"} in inner["grpc_service"]["initial_metadata"]
    (manager,) = patches(document, "NETWORK_FILTER")
    (log,) = manager["patch"]["value"]["typed_config"]["access_log"]
    assert log["typed_config"]["common_config"]["grpc_service"] == {
        "envoy_grpc": inner["grpc_service"]["envoy_grpc"],
        "initial_metadata": [{"key": "x-aimesh-namespace", "value": "ai"}],
    }


def test_an_observer_without_an_access_log_counts_by_itself() -> None:
    document = only("inbound", Snapshot((policy(selector=(("app", "chat"),)),)))
    inner = added(document)["aimesh.observe"]["typed_config"]["extension_config"]["typed_config"]
    assert [pair["key"] for pair in inner["grpc_service"]["initial_metadata"]] == ["x-aimesh-rendered-from"]
    assert patches(document, "NETWORK_FILTER") == []


@pytest.mark.parametrize(("release", "known"), [("1.29", False), ("1.30", True)])
def test_a_field_that_older_releases_do_not_know(release: str, known: bool) -> None:
    route = added(only("gateway", release=release))["aimesh.route"]
    assert ("allow_content_length_header" in route["typed_config"]) is known


def test_model_servers_are_timed_by_what_headers_say() -> None:
    chosen = Snapshot((policy(selector=(("app", "chat"),)), *PLAIN.policies))
    document = only("inbound", chosen)
    assert document["metadata"]["name"] == "aimesh-inbound-chat"
    assert document["spec"]["workloadSelector"] == {"labels": {"app": "chat"}}
    found = added(document)
    assert list(found) == ["aimesh.admitted", "aimesh.headers", "aimesh.observe"]
    rules = found["aimesh.headers"]["typed_config"]["request_rules"]
    keys = {rule["header"]: rule["on_header_present"]["key"] for rule in rules}
    assert keys == {
        "x-model-name": "model",
        "x-model-version": "version",
        "x-gpu-pool": "gpu_pool",
        ":method": "policy",
    }
    assert rules[-1]["on_header_present"]["value"] == "chat"
    inner = found["aimesh.observe"]["typed_config"]["extension_config"]["typed_config"]
    assert {"exact": ":path"} in inner["forward_rules"]["allowed_headers"]["patterns"]

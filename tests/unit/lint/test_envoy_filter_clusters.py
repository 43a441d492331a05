"""The cluster at which a processor is called."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from extproc.lint import envoy_filter_clusters
from tests.lint import corpus
from tests.lint.istio_objects import cluster_patch, envoy_filter, ext_proc, http_filter, resource, service


@corpus.bad(envoy_filter_clusters)
def test_bad_manifests_of_the_corpus(path: Path) -> None:
    assert corpus.found(envoy_filter_clusters, path) == corpus.expected(envoy_filter_clusters, path)


def test_good_manifests_of_the_corpus() -> None:
    assert corpus.found_in_good(envoy_filter_clusters) == []


def codes(text: str) -> list[str]:
    return corpus.found_codes(envoy_filter_clusters, text)


HOST = "processor.ai.svc.cluster.local"
OPTIONS = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"


def calling(cluster: str, *more: dict[str, Any], context: str = "GATEWAY") -> str:
    config = ext_proc(grpc_service={"envoy_grpc": {"cluster_name": cluster}})
    return envoy_filter(http_filter(config, context=context), *more)


@pytest.mark.parametrize(
    ("cluster", "found"),
    [
        (f"outbound|50051||{HOST}", []),
        ("processor", ["AIM141"]),
        (f"outbound|50051|{HOST}", ["AIM141"]),
        ("outbound|50051||processor", ["AIM141"]),
        (f"outbound|grpc||{HOST}", ["AIM141"]),
        (f"outbound|50051|v2|{HOST}", ["AIM142"]),
        (f"outbound|50052||{HOST}", ["AIM142"]),
    ],
)
def test_names_of_clusters(cluster: str, found: list[str]) -> None:
    assert codes(calling(cluster) + service(name="grpc")) == found


def test_a_subset_that_a_rule_declares() -> None:
    rule = resource("DestinationRule", host="processor", subsets=[{"name": "v2"}])
    assert codes(calling(f"outbound|50051|v2|{HOST}") + rule) == []


def test_the_ports_that_there_are_are_named() -> None:
    (found,) = corpus.findings(envoy_filter_clusters, calling(f"outbound|1||{HOST}") + service())
    assert found.message.endswith("has no port 1; it has 50051")
    (found,) = corpus.findings(envoy_filter_clusters, calling(f"outbound|1||{HOST}") + resource("Service", "processor"))
    assert found.message.endswith("has no port 1; it has none")


@pytest.mark.parametrize(
    ("port", "place"),
    [
        ({"name": "grpc-ext"}, ""),
        ({"name": "http2"}, ""),
        ({"name": "web", "appProtocol": "grpc"}, ""),
        ({"name": "grpc", "appProtocol": "http"}, "spec.ports[0].appProtocol"),
        ({"name": "http"}, "spec.ports[0].name"),
        ({}, "spec.ports[0]"),
    ],
)
def test_a_port_declares_grpc_by_app_protocol_or_else_by_name(port: dict[str, str], place: str) -> None:
    found = corpus.findings(envoy_filter_clusters, calling(f"outbound|50051||{HOST}") + service(**port))
    assert [(finding.code, finding.path) for finding in found] == ([("AIM143", place)] if place else [])


@pytest.mark.parametrize(
    ("hosts", "found"),
    [
        (["*/*"], []),
        (["./*"], []),
        ([f"ai/{HOST}"], []),
        (["*/*.ai.svc.cluster.local"], []),
        (["istio-system/*"], ["AIM147"]),
        (["ai/other.ai.svc.cluster.local"], ["AIM147"]),
    ],
)
def test_what_a_sidecar_imports(hosts: list[str], found: list[str]) -> None:
    text = calling(f"outbound|50051||{HOST}", context="SIDECAR_OUTBOUND")
    assert codes(text + resource("Sidecar", egress=[{"hosts": hosts}])) == found
    assert codes(text + resource("Sidecar", namespace="web", egress=[{"hosts": hosts}])) == []
    assert codes(calling(f"outbound|50051||{HOST}") + resource("Sidecar", egress=[{"hosts": hosts}])) == []


HTTP2: dict[str, Any] = {"explicit_http_config": {"http2_protocol_options": {}}}
LIMITS = {"thresholds": [{"max_requests": 65536}]}


@pytest.mark.parametrize(
    ("cluster", "found"),
    [
        ({"http2_protocol_options": {}, "circuit_breakers": LIMITS}, []),
        ({"typed_extension_protocol_options": {OPTIONS: HTTP2}, "circuit_breakers": LIMITS}, []),
        (
            {
                "typed_extension_protocol_options": {OPTIONS: {"auto_config": {"http2_protocol_options": {}}}},
                "circuit_breakers": LIMITS,
            },
            [],
        ),
        ({"typed_extension_protocol_options": {OPTIONS: {"auto_config": {}}}, "circuit_breakers": LIMITS}, ["AIM144"]),
        ({"http2_protocol_options": {}, "circuit_breakers": {"thresholds": [{"max_retries": 3}]}}, ["AIM146"]),
        ({}, ["AIM144", "AIM146"]),
    ],
)
def test_added_clusters(cluster: dict[str, Any], found: list[str]) -> None:
    assert codes(calling("processor", cluster_patch("processor", **cluster))) == found


WELL = {"http2_protocol_options": {}, "circuit_breakers": LIMITS}


def to(address: str) -> dict[str, Any]:
    socket = {"socket_address": {"address": address, "port_value": 50051}}
    return {"load_assignment": {"endpoints": [{"lb_endpoints": [{"endpoint": {"address": socket}}]}]}}


@pytest.mark.parametrize(
    ("cluster", "namespace", "found"),
    [
        (to(HOST), "ai", ["AIM145"]),
        (to(HOST), "istio-system", ["AIM145"]),
        (to(HOST), "web", []),
        (to("10.0.0.1"), "0", []),
        ({**to(HOST), "transport_socket": {"name": "tls"}}, "ai", []),
        ({"load_assignment": {"pipe": {"path": "/run/p.sock"}}}, "istio-system", []),
    ],
)
def test_plaintext_where_mutual_tls_is_wanted(cluster: dict[str, Any], namespace: str, found: list[str]) -> None:
    strict = resource("PeerAuthentication", "default", namespace, mtls={"mode": "STRICT"})
    assert codes(calling("processor", cluster_patch("processor", **WELL, **cluster)) + strict) == found


def test_one_cluster_in_two_patches() -> None:
    added = cluster_patch("processor", **WELL)
    assert codes(envoy_filter(added, added)) == ["AIM148"]
    assert codes(envoy_filter(added) + envoy_filter(added, name="b", workloadSelector={"labels": {"a": "b"}})) == []
    assert codes(envoy_filter(added) + envoy_filter(added, priority=3)) == [], "only the later object is there"
    unnamed = cluster_patch("", **WELL)
    assert codes(envoy_filter(unnamed, {**unnamed})) == ["AIM148"]

"""Our HTTP filters: headers for the processor, and what it may change."""

from __future__ import annotations

import re

import pytest

from extproc import headers
from extproc.exchange.request_outcome import ACCOUNTED
from extproc.policy.custom_metric import CustomMetric, Source
from extproc.policy.gpu import Gpu
from extproc.policy.picking import Picking
from extproc.policy.snapshot import GpuPool, HeaderMatch, Policy, Snapshot, Sticky, Version
from extproc.policy.upstream import Credentials, Upstream
from extproc.render.envoy.envoy_options import PROCESSOR, EnvoyOptions
from extproc.render.envoy.filters import (
    headers_read,
    if_sampled,
    load_report_filter,
    native_filter,
    observe_filter,
    reads_load_headers,
    route_filter,
)
from tests.unit.render.snapshots import PLAIN, Doc, policy

OPTIONS = EnvoyOptions()
REPORTING = Snapshot((policy(),), (GpuPool("west", Gpu(), metrics_type="vllm"),))
SCRAPED = Snapshot((policy(),), (GpuPool("west", Gpu(), metrics_type="vllm", metrics_url="http://a/metrics"),))


def forwarded(found: Doc) -> list[str]:
    return [pattern["exact"] for pattern in found["typed_config"]["forward_rules"]["allowed_headers"]["patterns"]]


def test_an_observer_without_an_access_log_counts_requests_itself() -> None:
    assert "initial_metadata" not in observe_filter(PLAIN, OPTIONS)["typed_config"]["grpc_service"]
    key, value = ACCOUNTED
    service = observe_filter(PLAIN, OPTIONS, accounted=True)["typed_config"]["grpc_service"]
    assert service["initial_metadata"] == [{"key": key, "value": value}]


def test_headers_that_policies_decide_by_are_sent_once() -> None:
    match = HeaderMatch((("x-beta", b"1"), ("x-tier", b"2")))
    snapshot = Snapshot(
        (
            policy(sticky=Sticky(header="x-user"), versions=(Version("v1"), Version("v2", match=(match, match)))),
            Policy("b", sticky=Sticky(cookie="sid"), models=("b",)),
            Policy("c", sticky=Sticky(body=("user",)), models=("c",)),
        )
    )
    always = headers_read(Snapshot())
    assert headers_read(snapshot) == [*always, "x-user", "x-beta", "x-tier", "cookie"]
    assert {":path", "content-type", *headers.ROUTING} <= set(always)
    assert {"authorization", "cookie"}.isdisjoint(always)
    assert len(set(always)) == len(always)


def test_what_picks_need_of_envoy() -> None:
    urgent = Snapshot((policy(picking=Picking(objectives=(("batch", -1),))),))
    assert headers_read(urgent) == [*headers_read(Snapshot()), "x-gateway-inference-objective"]
    assert headers_read(Snapshot((policy(picking=Picking()),))) == headers_read(Snapshot())
    taken = route_filter(urgent, OPTIONS)["typed_config"]["metadata_options"]["receiving_namespaces"]["untyped"]
    assert taken == ["aimesh", "envoy.lb"], "the access log tells who was picked"


def test_what_queues_need_of_envoy() -> None:
    assert "initial_metadata" not in route_filter(PLAIN, OPTIONS)["typed_config"]["grpc_service"]
    queue = Snapshot((policy(picking=Picking(max_queue=1)),))
    assert headers_read(queue) == [*headers_read(Snapshot()), "x-gateway-inference-fairness-id"]
    for options, told in ((OPTIONS, "1s"), (EnvoyOptions(message_timeout=2.5), "2.5s")):
        service = route_filter(queue, options)["typed_config"]["grpc_service"]
        assert service["initial_metadata"] == [{"key": "x-aimesh-message-timeout", "value": told}]


@pytest.mark.parametrize(
    ("body", "mode", "override", "wait", "timeout"),
    [
        ("buffered", "BUFFERED", False, True, "1s"),
        ("streamed", "STREAMED", False, True, "10s"),
        ("native", "NONE", True, False, "1s"),
    ],
)
def test_bodies_of_the_route_filter(body: str, mode: str, override: bool, wait: bool, timeout: str) -> None:
    found = route_filter(PLAIN, EnvoyOptions(body=body))["typed_config"]  # type: ignore[arg-type]
    assert found["processing_mode"]["request_body_mode"] == mode
    assert (found["allow_mode_override"], found["send_body_without_waiting_for_header_response"]) == (override, wait)
    assert found["message_timeout"] == timeout
    forwards = {"forwarding_namespaces": {"untyped": ["aimesh"]}} if override else {}
    assert found["metadata_options"] == {"receiving_namespaces": {"untyped": ["aimesh"]}} | forwards


@pytest.mark.parametrize("fail_open", [True, False])
def test_without_a_processor(fail_open: bool) -> None:
    options = EnvoyOptions(fail_open=fail_open)
    assert route_filter(PLAIN, options)["typed_config"]["failure_mode_allow"] is fail_open
    assert observe_filter(PLAIN, options)["typed_config"]["failure_mode_allow"] is True


def test_with_a_key_of_ours_it_fails_closed() -> None:
    """Where requests without an answer go, to one of these servers; for a mesh, where any may go."""
    keyed = policy(versions=(Version("v1", upstream=Upstream(credentials=Credentials("/key"))),))
    snapshot = Snapshot((keyed, *PLAIN.policies))

    def fails_open(unrouted: list[Policy] | None) -> bool:
        return bool(route_filter(snapshot, OPTIONS, unrouted=unrouted)["typed_config"]["failure_mode_allow"])

    assert [fails_open(one) for one in (None, [keyed], [*PLAIN.policies])] == [False, False, True]


@pytest.mark.parametrize(("cluster", "avoids"), [(PROCESSOR, False), ("outbound|50051||processors", True)])
def test_a_decision_is_asked_for_again_and_an_observation_is_not(cluster: str, avoids: bool) -> None:
    """Our own cluster ejects those that a mesh's may not."""
    options = EnvoyOptions(cluster=cluster)
    asked, observed = (
        found["typed_config"]["grpc_service"]
        for found in (route_filter(PLAIN, options), observe_filter(PLAIN, options))
    )
    assert asked["envoy_grpc"] == observed["envoy_grpc"] == {"cluster_name": cluster}
    assert asked["retry_policy"]["num_retries"] == 3
    assert asked["retry_policy"]["retry_back_off"] == {"base_interval": "0.01s"}
    assert ("retry_host_predicate" in asked["retry_policy"]) == avoids
    assert "retry_policy" not in observed


RENAMED = Snapshot((policy(versions=(Version("v1", model_rewrite="x"),)),))


@pytest.mark.parametrize(
    ("snapshot", "header", "allowed"),
    [
        (PLAIN, "x-model-name", True),
        (PLAIN, "x-gpu-pool", True),
        (PLAIN, "x-gateway-destination-endpoint", True),
        (PLAIN, "content-length", True),
        (PLAIN, "retry-after", True),
        (PLAIN, "grpc-status-details-bin", True),
        (PLAIN, "authorization", False),
        (PLAIN, "not-x-model-name", False),
        (PLAIN, ":path", False),
        (PLAIN, "seldon-model", False),
        (RENAMED, "seldon-model", True),
        (RENAMED, "authorization", False),
    ],
)
def test_what_the_processor_may_change(snapshot: Snapshot, header: str, allowed: bool) -> None:
    rules = route_filter(snapshot, OPTIONS)["typed_config"]["mutation_rules"]
    assert rules["disallow_all"] is True
    assert bool(re.fullmatch(rules["allow_expression"]["regex"], header)) is allowed


def test_the_observer_gets_the_response_and_does_not_hold_it() -> None:
    found = observe_filter(PLAIN, OPTIONS)["typed_config"]
    assert found["observability_mode"] is True
    assert found["processing_mode"]["response_body_mode"] == "STREAMED"
    assert found["processing_mode"]["request_body_mode"] == "NONE"
    assert found["deferred_close_timeout"] == "1s"


PICKING = Snapshot((policy(picking=Picking()),))
BUSY = CustomMetric("busy", "GAUGE", (), Source(header="x-busy"), Source(header="content-length"))


@pytest.mark.parametrize(
    ("snapshot", "options", "alone", "more"),
    [
        (PLAIN, EnvoyOptions(), False, []),
        (PLAIN, EnvoyOptions(tracing=True), False, ["traceparent"]),
        (PLAIN, EnvoyOptions(behind_linkerd=True), False, ["l5d-client-id"]),
        (REPORTING, EnvoyOptions(), False, ["endpoint-load-metrics"]),
        (Snapshot((policy(custom_metrics=(BUSY,)),)), EnvoyOptions(), False, ["x-busy"]),
        (PICKING, EnvoyOptions(), False, ["x-gateway-destination-endpoint"]),
    ],
)
def test_headers_for_the_observer(snapshot: Snapshot, options: EnvoyOptions, alone: bool, more: list[str]) -> None:
    always = forwarded(observe_filter(Snapshot(), OPTIONS))
    assert {":status", "content-type", "grpc-status"} <= set(always)
    assert forwarded(observe_filter(snapshot, options, alone=alone)) == [*always, *more]


@pytest.mark.parametrize(
    ("snapshot", "alone", "told"), [(PICKING, False, True), (PICKING, True, False), (PLAIN, False, False)]
)
def test_where_servers_are_picked_the_observer_is_told_who_answered(
    snapshot: Snapshot, alone: bool, told: bool
) -> None:
    """Not at a model server, whose own sidecar knows only itself."""
    config = observe_filter(snapshot, OPTIONS, alone=alone)["typed_config"]
    assert config.get("response_attributes") == (["upstream.address"] if told else None)


def test_an_observer_alone_needs_method_and_path() -> None:
    found = forwarded(observe_filter(PLAIN, OPTIONS, alone=True))
    assert {":method", ":path"} <= set(found)
    assert {":method", ":path"}.isdisjoint(forwarded(observe_filter(PLAIN, OPTIONS)))


@pytest.mark.parametrize(("snapshot", "reads"), [(Snapshot(), False), (REPORTING, True), (SCRAPED, False)])
def test_who_reports_load_in_headers(snapshot: Snapshot, reads: bool) -> None:
    assert reads_load_headers(snapshot) is reads


def test_load_reports_do_not_reach_clients() -> None:
    found = load_report_filter()["typed_config"]["mutations"]
    assert found["response_mutations"] == [{"remove": "endpoint-load-metrics"}]
    (asking,) = found["request_mutations"]
    assert asking["append"]["header"] == {"key": "endpoint-load-metrics-format", "value": "JSON"}


def test_the_native_filter_reads_json_only() -> None:
    rules = native_filter()["typed_config"]["request_rules"]
    assert "application/json" in rules["allow_content_types"]
    assert "application/json; charset=utf-8" in rules["allow_content_types"]
    (rule,) = rules["rules"]
    assert rule["selectors"] == [{"key": "model"}]
    assert rule["on_present"]["metadata_namespace"] == "aimesh"


def test_who_is_left_out_opens_no_stream() -> None:
    inner = observe_filter(PLAIN, OPTIONS)
    found = if_sampled(inner)
    matcher = found["typed_config"]["xds_matcher"]
    assert found["name"] == "aimesh.observe"
    assert found["typed_config"]["extension_config"]["typed_config"]["@type"].endswith(".Composite")
    assert matcher["on_no_match"]["action"]["typed_config"]["typed_config"] == inner
    (rule,) = matcher["matcher_list"]["matchers"]
    predicate = rule["predicate"]["single_predicate"]
    assert predicate["input"]["typed_config"]["path"] == [{"key": "observe"}]
    assert predicate["custom_match"]["typed_config"]["value"] == {"string_match": {"exact": "0"}}
    assert rule["on_match"]["action"]["typed_config"]["@type"].endswith(".SkipFilter")


def test_tags_in_paths_are_removed_where_they_are_made() -> None:
    rules = route_filter(PLAIN, OPTIONS, tagged=True)["typed_config"]["mutation_rules"]
    assert re.fullmatch(rules["allow_expression"]["regex"], ":path")

"""Series of each source: which requests they select, what counts as a failure, which Services Linkerd's are of."""

from __future__ import annotations

import pytest
from linkerd_adapter import plan

from extproc.policy.snapshot import Policy, Snapshot, Version
from extproc.render.prometheus.metric_sources import (
    BROKEN,
    Series,
    Service,
    backends,
    golden_series,
    inference,
    processor_series,
)
from tests.policy_documents import file, policy, pool, snapshot_of
from tests.unit.render.snapshots import CANARY, PLAIN, POOLED

POD = "selector: {matchLabels: {app: chat}}\nhost: chat.ai.svc.cluster.local\n"
VERSIONS = "versions: [{name: v1, weight: 9}, {name: V.2, weight: 1}, {name: v3, mirror: 5}]\n"
POOLS = (
    pool("product: NVIDIA-A100-SXM4-80GB", "a100-west"),
    pool("product: NVIDIA-H100-80GB-HBM3\nendpoints: ['10.0.0.1:80', 'h100.ai.svc:80']", "h100-east"),
)


@pytest.mark.parametrize(
    "text",
    [
        policy(POD + "models: [a]"),
        policy(POD + "models: [a]\n" + VERSIONS),
        file(policy(POD + "models: [a]\n" + VERSIONS, "one"), policy(POD + "models: [b]\n" + VERSIONS, "two")),
        file(
            policy(POD + "models: [a]\n" + VERSIONS, "one"),
            policy(POD.replace(".svc.cluster.local", "") + "models: [b]\n" + VERSIONS, "two"),
        ),
        file(policy(POD + "gpuRequirements: {}\n" + VERSIONS), *POOLS),
        file(policy(POD + "gpuRequirements: {}"), *POOLS),
        policy(POD + "versions: [{name: v1, endpoints: ['10.0.0.1:80', '10.0.0.2:80']}]"),
        policy(POD + "versions: [{name: v1, endpoints: ['one.ai.svc:80', 'two.ai.svc.cluster.local:81']}]"),
        policy(POD + "versions: [{name: v1, endpoints: ['one.ai.svc:80', '10.0.0.1:80']}]"),
        policy(POD + "versions: [{name: v1, grpcEndpoints: ['grpc.ai.svc:81', '10.0.0.1:81']}]"),
        policy(f"{POD}versions: [{{name: {'long-' * 12}v1, weight: 1}}, {{name: v2, weight: 1}}]"),
    ],
)
def test_linkerd_adapter_renders_the_same_services(text: str) -> None:
    snapshot = snapshot_of(text)
    planned = plan.make(snapshot, "ai")
    for owner in snapshot.policies:
        for place in planned.places[owner.name]:
            wanted = {(b.service.namespace, b.service.name, b.port) for b in place.all_backends}
            assert set(backends(snapshot, owner, place.target)) == wanted


CHAT = CANARY.policies[0]


def test_the_processor_s_own() -> None:
    (found,) = golden_series(CANARY, CHAT, "extproc")
    assert found == processor_series(CHAT)
    assert found.requests == 'inference_requests_total{model="llama"}'
    assert found.failures == (
        'inference_requests_total{model="llama", code=~"5.."}',
        f'inference_errors_total{{model="llama", {BROKEN}}}',
    )
    assert found.durations == 'inference_request_duration_seconds_bucket{model="llama"}'
    assert (found.labels, found.scale) == ({"policy": "chat"}, 1)


def test_istio_s_by_the_tags_of_its_telemetry() -> None:
    (found,) = golden_series(CANARY, CHAT, "istio")
    assert found.requests == 'istio_requests_total{reporter="source", model_name="llama"}'
    assert found.failures[0] == found.requests.replace("}", ', response_code=~"5.."}')
    assert found.failures[1].startswith("inference_errors_total")
    assert found.scale == 0.001
    assert dict(found.kept)["version"] == "model_version"


def test_linkerd_s_by_services() -> None:
    found = golden_series(POOLED, POOLED.policies[0], "linkerd")
    assert [one.labels for one in found] == [
        {"policy": "chat", "model": "llama", "version": "v1", "gpu_pool": "west"},
        {"policy": "chat", "model": "llama", "version": "v1", "gpu_pool": "east"},
    ]
    west = found[0]
    assert west.requests == (
        "outbound_http_route_backend_response_statuses_total"
        '{backend_name="chat-v1-west", backend_namespace="ai", backend_port="8080", '
        'parent_kind="Service", parent_name="chat", parent_namespace="ai"}'
    )
    assert 'http_status=~"5.."' in west.failures[0]
    assert 'http_status="", error!=""' in west.failures[1]
    assert 'version="v1", gpu_pool="west"' in west.failures[2]
    assert west.kept == ()


def test_on_linkerd_a_model_is_named_only_where_there_is_one() -> None:
    many = Policy("p", host="h", models=("a", "b"))
    (found,) = golden_series(Snapshot((many,)), many, "linkerd")
    assert found.labels == {"policy": "p", "version": "none", "gpu_pool": "none"}
    assert "namespace" not in found.requests, "the policy names none"
    assert "version=" not in found.failures[2], "a request may name one"


def test_models_are_patterns_of_the_policy() -> None:
    assert inference(CHAT) == 'model="llama"'
    assert inference(Policy("p", models=("a.b", "c-*"))) == 'model=~"a\\\\.b|c-\\\\*"'


def test_totals_are_by_our_labels() -> None:
    kept = (("model", "model"), ("version", "model_version"))
    assert Series({}, kept, "", (), "").total("up", "le") == (
        'sum by (model, version, le) (label_replace(up, "version", "$1", "model_version", "(.+)"))'
    )
    assert Series({}, (), "", (), "").total("up") == "sum(up)"
    assert Series({}, (), "", (), "").total("up", "le") == "sum by (le) (up)"


@pytest.mark.parametrize(
    ("host", "endpoints", "found"),
    [
        ("chat", (), [Service("ai", "chat-v1", 8080)]),
        ("chat.ml.svc", (), [Service("ml", "chat-v1", 8080)]),
        ("chat", ("one.ml.svc:80",), [Service("ml", "one", 80)]),
        ("chat", ("one:80", "two.ml:81"), [Service("ai", "one", 80), Service("ml", "two", 81)]),
        ("chat", ("10.0.0.1:80", "[::1]:80"), [Service("ai", "chat-v1", 8080)]),
        ("chat", ("one:80", "10.0.0.1:80"), [Service("ai", "one", 80), Service("ai", "chat-v1", 8080)]),
    ],
)
def test_services_of_a_version(host: str, endpoints: tuple[str, ...], found: list[Service]) -> None:
    owner = Policy("p", "ai", host=host, models=("a",), versions=(Version("v1", 1, endpoints),))
    snapshot = Snapshot((owner,))
    assert backends(snapshot, owner, snapshot.targets["p", "v1"][0]) == found


def test_without_versions_and_pools_the_apex_itself() -> None:
    (plain,) = PLAIN.policies
    assert backends(PLAIN, plain, PLAIN.targets["plain", ""][0]) == [Service("ai", "plain", 8080)]

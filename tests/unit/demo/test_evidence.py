"""What is read from Envoy's and the processor's counters, and from the policy."""

from __future__ import annotations

import json

import msgspec
from prometheus_client import CollectorRegistry, generate_latest

from extproc.demo.evidence import counters, policy_targets
from extproc.exchange.notes import Observed, Unmatched
from extproc.policy.gpu import Requirement, describe
from extproc.policy.snapshot import GpuPool, Policy, Snapshot, Version
from extproc.telemetry.metrics import Metrics
from tests.unit.demo.scene import IRIS, TARGETS, V1, V2


def snapshot() -> Snapshot:
    """The demo's policy, by hand."""
    chat = Policy(
        "chat",
        models=("llama-3-8b",),
        versions=(
            Version("v1", 90, gpu_pools=("a100-west",)),
            Version("v2", 10, gpu_pools=("h100-east",), model_rewrite="llama-3-8b-instruct"),
        ),
        gpu=Requirement("8.0+", 40960),
    )
    classifier = Policy("classifier", models=("iris",), versions=(Version("v1", 100),), gpu=Requirement("t4"))
    pools = (
        GpuPool("a100-west", describe("NVIDIA-A100-SXM4-80GB"), ("127.0.0.1:9001",)),
        GpuPool("h100-east", describe("NVIDIA-H100-80GB-HBM3"), ("127.0.0.1:9002",)),
        GpuPool("t4-edge", describe("Tesla-T4"), ("127.0.0.1:9003",)),
    )
    return Snapshot((chat, classifier), pools)


def test_arms_are_the_places_of_the_policy() -> None:
    assert tuple(policy_targets(snapshot())) == TARGETS


def test_counters_are_read_as_they_are_written() -> None:
    metrics = Metrics()
    for model, version, pool, api, code in (
        ("llama-3-8b", "v1", "a100-west", "openai", "200"),
        ("llama-3-8b", "v1", "a100-west", "openai", "503"),
        ("llama-3-8b", "v2", "h100-east", "openai", "200"),
        ("iris", "v1", "t4-edge", "oip", "200"),
        ("other", "none", "none", "openai", "404"),
    ):
        metrics.note(Observed(model, version, pool, api, code, 0.1))
    for estimated, tokens, first in ((False, 17, 0.125), (True, 6, 0.125)):
        observed = Observed("llama-3-8b", "v1", "a100-west", "openai", "200", 0.1, first_token=first, input_tokens=7)
        metrics.note(msgspec.structs.replace(observed, output_tokens=tokens, cached_tokens=2, estimated=estimated))
    metrics.note(Unmatched("no_policy"))
    metrics.note(Unmatched("no_model"))
    registry = CollectorRegistry()
    registry.register(metrics)
    stats = [
        {"name": f"cluster.{V1.cluster}.upstream_rq_completed", "value": 3},
        {"name": f"cluster.{V2.cluster}.internal.upstream_rq_completed", "value": 9},
        {"name": "cluster.aimesh-processor.upstream_rq_completed", "value": 5},
        {"histograms": {}},
    ]
    found = counters(TARGETS, json.dumps({"stats": stats}).encode(), generate_latest(registry).decode())
    assert found.envoy[V1.cluster] == 3
    assert V2.cluster not in found.envoy
    assert found.processor == {V1.cluster: 4, V2.cluster: 1, IRIS.cluster: 1}
    assert found.unmatched == 2
    assert found.first_tokens == {V1.cluster: (2, 0.25)}
    assert found.tokens == {V1.cluster: (14, 17 + 6)}

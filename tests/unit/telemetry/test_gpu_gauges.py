"""What custom metrics say of the GPUs of endpoints that are picked."""

from __future__ import annotations

from extproc.picking.endpoint_state import EndpointState
from extproc.policy.custom_metric import GPU_UTILIZATION, REQUESTS, CustomMetric
from extproc.policy.gpu import Requirement, describe
from extproc.policy.picking import Picking
from extproc.policy.snapshot import GpuPool, Policy, Snapshot
from extproc.telemetry.endpoint_gauges import EndpointsByTarget
from extproc.telemetry.gpu_gauges import GpuGauge, collect_gpus, gpu_gauges
from extproc.telemetry.metrics import Metrics
from extproc.telemetry.serving_gauges import ServingGauges


def state(gpu: float | None) -> EndpointState:
    return EndpointState("10.0.0.1:80", gpu=gpu)


def busy(name: str, *labels: str) -> CustomMetric:
    return CustomMetric(name, "GAUGE", labels, GPU_UTILIZATION)


WEST = GpuPool("west", describe("NVIDIA-H100-80GB-HBM3"))
TARGETS: EndpointsByTarget = {
    ("a", "v1", "west"): [state(0.25), state(0.75), state(None)],
    ("a", "v2", "west"): [state(1.0)],
    ("b", "", ""): [state(0.0)],
    ("c", "", ""): [state(0.5)],
    ("d", "v", ""): [state(None)],
}


def snapshot(*metrics: CustomMetric) -> Snapshot:
    names = {name: Requirement("a100") if name == "b" else None for name in "abd"}
    policies = [Policy(name, host=name, custom_metrics=metrics, gpu=gpu) for name, gpu in names.items()]
    return Snapshot((*policies, Policy("c", host="c", picking=Picking())), (WEST,))


def test_endpoints_that_are_known_are_averaged_by_labels() -> None:
    asked = busy("v", "model_version", "policy"), busy("all"), busy("g", "gpu_type", "gpu_pool")
    assert gpu_gauges(snapshot(*asked, CustomMetric("n", "GAUGE", (), REQUESTS)), TARGETS) == [
        GpuGauge("v", ("model_version", "policy"), {("v1", "a"): 0.5, ("v2", "a"): 1.0, ("none", "b"): 0.0}),
        GpuGauge("all", (), {(): 0.5}),
        GpuGauge("g", ("gpu_type", "gpu_pool"), {("h100", "west"): 2 / 3, ("a100", "none"): 0.0}),
    ]
    assert gpu_gauges(snapshot(*asked), {("d", "v", ""): [state(None)]}) == []


def test_they_are_metrics_of_the_replica() -> None:
    """One process tells; the others, which know no endpoints, tell nothing, and nobody an empty gauge of that name."""
    total, first, second = Metrics(), Metrics(), Metrics()
    in_force = snapshot(busy("busy", "policy"))
    first.serving = lambda: ServingGauges(gpus=gpu_gauges(in_force, TARGETS))
    for each in (second, first):
        each.set_snapshot(in_force)
        total.add(each.state())
    (family,) = [family for family in total.collect() if family.name == "busy"]
    assert [(s.labels, s.value) for s in family.samples] == [({"policy": "a"}, 2 / 3), ({"policy": "b"}, 0.0)]
    assert list(collect_gpus(())) == []

"""Random edits on a real API server: after each, objects are as rendered and a processor decides by what is wanted."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from tests.kubernetes.control_plane import ControlPlane
from tests.kubernetes.controllers import ControllerProcess, live, rendered, same
from tests.kubernetes.processor import ClusterProcessor
from tests.kubernetes.test_policies_carried_out import istio, policy
from tests.manifests.crds import needed
from tests.policy_documents import load_texts
from tests.waiting import until

__all__ = ["istio"]
pytestmark = [needed, pytest.mark.timeout(3600)]
EDITS, PATIENCE = int(os.environ.get("EXTPROC_TEST_EDITS", "30")), 60


@pytest.fixture
def processor(istio: ControlPlane, namespace: str) -> Iterator[ClusterProcessor]:
    with ClusterProcessor(istio.admin, "--namespace", namespace) as made:
        yield made.ready()


def spec(draw: random.Random, name: str) -> dict[str, Any]:
    versions = [
        {"name": f"v{i}", "weight": draw.randint(1, 9), **draw.choice([{}, {"endpoints": [f"192.0.2.{i}:80"]}])}
        for i in draw.sample(range(1, 5), draw.randint(1, 3))
    ]
    more: list[dict[str, Any]] = [
        {},
        {"sticky": {"header": "x-user"}},
        {"allowPin": True},
        {"trafficManagement": {"timeout": "9s"}},
    ]
    pools: list[dict[str, Any]] = [
        {},
        {},
        {"gpuRequirements": {"architecture": "a100"}, "onNoGpu": draw.choice(["ignore", "reject"])},
    ]
    host = draw.choice(["shared", name])
    return {
        "models": [name, f"{name}-*"],
        "host": host,
        "versions": versions,
        **draw.choice(more),
        **draw.choice(pools),
    }


def edit(draw: random.Random, namespace: str, known: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """The objects after one edit: a policy or pool comes, changes or goes."""
    name = draw.choice(["a", "b", "c", "west"])
    if name in known and draw.random() < 0.3:
        return {other: one for other, one in known.items() if other != name}
    if name == "west":
        product = draw.choice(["NVIDIA-A100-SXM4-80GB", "NVIDIA-H100-80GB-HBM3"])
        pool = policy(namespace, "west", product=product, **draw.choice([{}, {"endpoints": ["192.0.2.9:80"]}]))
        return {**known, "west": {**pool, "kind": "GpuPool"}}
    return {**known, name: policy(namespace, name, **spec(draw, name))}


def test_after_every_edit_everything_is_as_it_should_be(
    istio: ControlPlane, namespace: str, processor: ClusterProcessor
) -> None:
    draw = random.Random(17)
    known: dict[str, dict[str, Any]] = {}
    with ControllerProcess(istio, namespace) as controller:
        for _ in range(EDITS):
            before, known = known, edit(draw, namespace, known)
            for name in before.keys() - known.keys():
                istio.kubectl("delete", before[name]["kind"].lower(), name, "-n", namespace)
            changed = [one for name, one in known.items() if before.get(name) != one]
            if changed:
                istio.kubectl("apply", "-f", "-", input=yaml.safe_dump_all(changed))
            policies = [one for one in known.values() if one["kind"] != "GpuPool"]
            if not policies:
                until(lambda: not live(istio), PATIENCE)
                continue
            texts = [(f"{name}.yaml", yaml.safe_dump(one)) for name, one in _by_age(istio, namespace, known)]
            snapshot = load_texts(texts).snapshot
            until(lambda snapshot=snapshot: same(live(istio), rendered(snapshot)), PATIENCE, pause=0.2)  # type: ignore[misc]
            weights = {p.name: sorted((v.name, v.weight) for v in p.versions) for p in snapshot.policies}
            until(lambda weights=weights: _weights(processor) == weights, PATIENCE)  # type: ignore[misc]
        assert controller.process.poll() is None


def _by_age(
    control_plane: ControlPlane, namespace: str, known: dict[str, dict[str, Any]]
) -> list[tuple[str, dict[str, Any]]]:
    columns = "jsonpath={range .items[*]}{.metadata.creationTimestamp} {.metadata.name}{'\\n'}{end}"
    listed = control_plane.kubectl("get", "mip,gpupools", "-n", namespace, "-o", columns).splitlines()
    return [(name, known[name]) for _, name in sorted(tuple(line.split()) for line in listed)]


def _weights(processor: ClusterProcessor) -> dict[str, list[tuple[str, int]]]:
    policies = processor.config()["policies"]
    return {p["name"]: sorted((v["name"], v["weight"]) for v in p["versions"]) for p in policies}

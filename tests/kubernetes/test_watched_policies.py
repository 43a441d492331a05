"""Processors that watch a real API server: changes, bad objects, outages, other contents, snapshots on disk."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from extproc._pb import health_pb2 as pb
from tests.kubernetes.control_plane import ControlPlane
from tests.kubernetes.processor import ClusterProcessor
from tests.waiting import until

pytestmark = pytest.mark.timeout(300)
SERVING, NOT_SERVING = pb.HealthCheckResponse.SERVING, pb.HealthCheckResponse.NOT_SERVING
Start = Callable[..., ClusterProcessor]


@pytest.fixture
def start(control_plane: ControlPlane, namespace: str) -> Iterator[Start]:
    """Starts processors of the test's namespace, which end with it."""
    with ExitStack() as stack:

        def started(*options: str) -> ClusterProcessor:
            processor = ClusterProcessor(control_plane.admin, "--namespace", namespace, *options)
            return stack.enter_context(processor).ready()

        yield started


def policy(namespace: str, name: str = "chat", **spec: Any) -> dict[str, Any]:
    metadata = {"name": name, "namespace": namespace}
    spec = {"models": [name], **spec}
    return {"apiVersion": "ai.istio.io/v1alpha1", "kind": "ModelInferencePolicy", "metadata": metadata, "spec": spec}


def pool(namespace: str, name: str, product: str = "NVIDIA-A100-SXM4-80GB") -> dict[str, Any]:
    metadata, spec = {"name": name, "namespace": namespace}, {"product": product}
    return {"apiVersion": "ai.istio.io/v1alpha1", "kind": "GpuPool", "metadata": metadata, "spec": spec}


def test_what_is_applied_is_served_until_it_is_deleted(
    control_plane: ControlPlane, namespace: str, start: Start
) -> None:
    processor = start()
    until(processor.is_ready)
    assert (processor.ports(), processor.health()) == ({}, SERVING), "a cluster without policies passes requests on"
    control_plane.apply(policy(namespace, port=1), policy(namespace, "code", port=2), pool(namespace, "west"))
    until(lambda: processor.ports() == {"chat": 1, "code": 2})
    control_plane.apply(policy(namespace, port=3))
    until(lambda: processor.ports()["chat"] == 3)
    assert [found["name"] for found in processor.config()["pools"]] == ["west"]
    assert processor.objects() == {"in_force": 3, "held": 0, "left_out": 0}
    control_plane.kubectl("delete", "mip", "code", "-n", namespace)
    until(lambda: processor.ports() == {"chat": 3})
    control_plane.apply(policy("default", "elsewhere"))
    control_plane.apply(policy(namespace, port=4))
    until(lambda: processor.ports() == {"chat": 4})
    control_plane.kubectl("delete", "mip", "elsewhere")


def test_one_bad_object_hurts_nobody_else(control_plane: ControlPlane, namespace: str, start: Start) -> None:
    on_pool: dict[str, Any] = {
        "versions": [{"name": "v1", "gpuPools": ["west"]}],
        "gpuRequirements": {"architecture": "a100"},
    }
    control_plane.apply(pool(namespace, "west"), policy(namespace, port=1, **on_pool), policy(namespace, "code"))
    processor = start()
    until(lambda: processor.is_ready() and len(processor.ports()) == 2)
    assert processor.problems() == []
    control_plane.apply(policy(namespace, port=2, versions=[{"name": "v1", "gpuPools": ["wset"]}]))
    control_plane.apply(policy(namespace, "code", port=7))
    until(lambda: processor.ports() == {"chat": 1, "code": 7})
    until(processor.problems)
    (problem,) = processor.problems()
    assert (problem["file"], problem["path"]) == (
        f"ModelInferencePolicy {namespace}/chat",
        "spec.versions[0].gpuPools[0]",
    )
    assert processor.objects() == {"in_force": 2, "held": 1, "left_out": 0}
    assert processor.metric('extproc_policy_objects{state="held"}') == 1
    assert processor.is_ready()
    control_plane.apply(policy(namespace, port=3, **on_pool))
    until(lambda: processor.ports()["chat"] == 3)
    assert processor.problems() == []
    control_plane.kubectl("delete", "gpupool", "west", "-n", namespace)
    until(lambda: processor.problems())
    assert [found["name"] for found in processor.config()["pools"]] == ["west"], "a policy in force needs it"
    control_plane.kubectl("delete", "mip", "chat", "-n", namespace)
    until(lambda: processor.config()["pools"] == [])
    assert processor.problems() == []


def test_an_api_server_that_goes_away(control_plane: ControlPlane, namespace: str, start: Start) -> None:
    control_plane.apply(policy(namespace, port=1))
    processor = start()
    until(lambda: processor.ports() == {"chat": 1})
    control_plane.stop_api()
    until(lambda: processor.metric("extproc_policies_in_step") == 0)
    assert processor.config()["kubernetes"]["failures"]
    assert (processor.is_ready(), processor.health(), processor.ports()) == (True, SERVING, {"chat": 1})
    control_plane.start_api()
    control_plane.apply(policy(namespace, port=2))
    until(lambda: processor.ports() == {"chat": 2})
    until(lambda: processor.metric("extproc_policies_in_step") == 1)


def test_an_api_server_that_comes_back_with_other_contents(
    control_plane: ControlPlane, namespace: str, start: Start, tmp_path: Path
) -> None:
    """etcd restored from a backup: its versions are lower than those that the processor has seen."""
    control_plane.apply(policy(namespace, port=1), policy(namespace, "code", port=1))
    with control_plane.stopped() as data:
        shutil.copytree(data, tmp_path / "backup")
    processor = start()
    control_plane.apply(policy(namespace, port=2), policy(namespace, "draw", port=2))
    control_plane.kubectl("delete", "mip", "code", "-n", namespace)
    until(lambda: processor.ports() == {"chat": 2, "draw": 2})
    with control_plane.stopped() as data:
        until(lambda: not processor.config()["kubernetes"]["in_step"])
        shutil.rmtree(data)
        shutil.copytree(tmp_path / "backup", data)
        assert processor.ports() == {"chat": 2, "draw": 2}
    until(lambda: processor.ports() == {"chat": 1, "code": 1})
    control_plane.apply(policy(namespace, port=3))
    until(lambda: processor.ports()["chat"] == 3)


def test_changes_that_etcd_has_forgotten(control_plane: ControlPlane, namespace: str, start: Start) -> None:
    control_plane.apply(policy(namespace, port=1))
    processor = start()
    until(lambda: processor.ports() == {"chat": 1})
    control_plane.compact()
    control_plane.stop_api()
    control_plane.start_api()
    control_plane.apply(policy(namespace, port=2))
    control_plane.compact()
    until(lambda: processor.ports() == {"chat": 2})


def test_a_start_without_the_api_server(
    control_plane: ControlPlane, namespace: str, start: Start, tmp_path: Path
) -> None:
    kept = ("--snapshot-directory", str(tmp_path))
    control_plane.apply(policy(namespace, port=1), pool(namespace, "west"))
    first = start(*kept)
    until(lambda: first.ports() == {"chat": 1})
    until(lambda: (tmp_path / "policies.json").exists())
    control_plane.stop_api()
    without, other = start(), start(*kept, "--namespace", "other")
    served = start(*kept)
    until(served.is_ready)
    assert (served.ports(), served.config()["pools"][0]["name"], served.health()) == ({"chat": 1}, "west", SERVING)
    assert "last written to disk" in served.log
    until(lambda: "ConnectError" in without.get("/readyz")[1])
    assert without.get("/readyz")[1].startswith("not ready: no policies yet; GpuPool: ConnectError")
    until(lambda: "of other namespaces" in other.get("/readyz")[1])
    assert (without.get("/readyz")[0], without.health()) == (503, NOT_SERVING)
    control_plane.start_api()
    control_plane.apply(policy(namespace, port=2))
    until(lambda: without.is_ready() and without.health() == SERVING)
    for processor in (first, served, without, other):
        until(lambda processor=processor: processor.ports() == {"chat": 2})  # type: ignore[misc]
        until(lambda processor=processor: processor.config()["kubernetes"]["in_step"])  # type: ignore[misc]

"""GPU pools that are found by their nodes, on a real API server: Nodes, Pods and EndpointSlices as they come and go."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from extproc.render.istio.istio_options import POOL_LABEL, VERSION_LABEL
from tests.kubernetes.control_plane import ControlPlane
from tests.kubernetes.controllers import ControllerProcess, live
from tests.kubernetes.processor import ClusterProcessor
from tests.kubernetes.test_policies_carried_out import PATIENCE, istio, policy, status, waits_for
from tests.manifests.crds import needed
from tests.unit.kubernetes.test_node_gpus import A100
from tests.unit.kubernetes.test_pool_discovery import SLICES
from tests.waiting import until

__all__ = ["istio"]
pytestmark = [needed, pytest.mark.timeout(300)]
NODES = {"west-1": {**A100, "zone": "west"}, "west-2": {**A100, "zone": "west"}, "mig-1": {**SLICES, "zone": "mig"}}
PODS = {
    "192.0.2.1": ("v1", "west-1"),
    "192.0.2.2": ("v1", "west-2"),
    "192.0.2.3": ("v2", "west-2"),
    "192.0.2.4": ("v1", "mig-1"),
}
"""Version and node of each, by its address."""
Placed = set[tuple[str, str, str]]
"""Addresses, each with its version and pool."""


def pod_name(address: str) -> str:
    return f"chat-{address.rpartition('.')[2]}"


def pods(namespace: str) -> Iterator[dict[str, Any]]:
    for address, (version, node) in PODS.items():
        metadata = {"name": pod_name(address), "namespace": namespace, "labels": {"app": "chat", "version": version}}
        spec = {"nodeName": node, "containers": [{"name": "main", "image": "none"}]}
        yield {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}


def endpoint_slice(namespace: str, *ending: str) -> dict[str, Any]:
    """As Kubernetes' controller writes it. ``ending``: addresses of pods that are about to go."""
    endpoints = [
        {
            "addresses": [address],
            "conditions": {"ready": address not in ending, "serving": True, "terminating": address in ending},
            "nodeName": node,
            "targetRef": {"kind": "Pod", "namespace": namespace, "name": pod_name(address)},
        }
        for address, (_, node) in PODS.items()
    ]
    labels = {"kubernetes.io/service-name": "chat"}
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {"name": "chat-1", "namespace": namespace, "labels": labels},
        "addressType": "IPv4",
        "ports": [{"name": "http", "port": 8080, "protocol": "TCP"}],
        "endpoints": endpoints,
    }


@pytest.fixture
def cluster(istio: ControlPlane, namespace: str) -> Iterator[ControlPlane]:
    nodes = [{"apiVersion": "v1", "kind": "Node", "metadata": {"name": n, "labels": own}} for n, own in NODES.items()]
    account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default", "namespace": namespace}}
    ports = [{"name": "http", "port": 8080, "protocol": "TCP"}]
    service = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "chat", "namespace": namespace}}
    istio.apply(*nodes, account)
    istio.apply(service | {"spec": {"ports": ports, "selector": {"app": "chat"}}})
    istio.apply(*pods(namespace), endpoint_slice(namespace))
    yield istio
    istio.kubectl("delete", "node", "--all")


def pool(namespace: str, zone: str) -> dict[str, Any]:
    return {**policy(namespace, zone, nodeSelector={"zone": zone}), "kind": "GpuPool"}


def placed(control_plane: ControlPlane) -> Placed:
    """Where the mesh sends requests."""
    entries = [one["spec"]["endpoints"] for key, one in live(control_plane).items() if key.kind == "ServiceEntry"]
    endpoints = [each for entry in entries for each in entry]
    return {(e["address"], e["labels"][VERSION_LABEL], e["labels"].get(POOL_LABEL, "")) for e in endpoints}


def told(control_plane: ControlPlane, namespace: str, name: str) -> tuple[Any, ...]:
    """What a pool's status says of it."""
    found = status(control_plane, namespace, name, "gpupool")
    return tuple(found.get(what) for what in ("product", "memory", "mig", "nodes", "gpus", "endpoints"))


def test_a_pool_is_what_its_nodes_are(cluster: ControlPlane, namespace: str) -> None:
    spec: dict[str, Any] = {
        "models": ["chat"],
        "host": "chat",
        "port": 8080,
        "gpuRequirements": {"architecture": "ampere"},
    }
    versions = [{"name": "v1", "gpuPools": ["west", "mig"]}, {"name": "v2", "gpuPools": ["west"]}]
    cluster.apply(pool(namespace, "west"), pool(namespace, "mig"), policy(namespace, **spec, versions=versions))
    with (
        ControllerProcess(cluster, namespace),
        ClusterProcessor(cluster.admin, "--namespace", namespace) as processor,
    ):
        waits_for(cluster, namespace)
        everywhere = {
            ("192.0.2.1", "v1", "west"),
            ("192.0.2.2", "v1", "west"),
            ("192.0.2.3", "v2", "west"),
            ("192.0.2.4", "v1", "mig"),
        }
        until(lambda: placed(cluster) == everywhere, PATIENCE, pause=0.1)
        product = A100["nvidia.com/gpu.product"]
        assert told(cluster, namespace, "west") == (product, "81920Mi", None, 2, 16, 3)
        sliced = (SLICES["nvidia.com/gpu.product"], "9856Mi", "1g.10gb", 1, 7, 1)
        assert told(cluster, namespace, "mig") == sliced
        ready = {each["name"]: each["ready"] for each in status(cluster, namespace)["versions"]}
        assert ready == {"v1": 3, "v2": 1}
        processor.ready()
        until(lambda: {one["name"]: one["product"] for one in processor.config()["pools"]}.get("west") == product)

        command = [sys.executable, "-m", "extproc", "pools", "--namespace", namespace, "--json"]
        environment = os.environ | {"KUBECONFIG": str(cluster.admin)}
        printed = json.loads(subprocess.run(command, env=environment, capture_output=True, check=True).stdout)
        rows = {row["name"]: (row["nodes"], row["gpus"], row["endpoints"]) for row in printed}
        assert rows == {"west": (["west-1", "west-2"], 16, 3), "mig": (["mig-1"], 7, 1)}

        # A pod ends; a node goes, with its pod.
        cluster.apply(endpoint_slice(namespace, "192.0.2.1"))
        until(lambda: placed(cluster) == everywhere - {("192.0.2.1", "v1", "west")}, PATIENCE, pause=0.1)
        cluster.kubectl("delete", "node", "mig-1")
        cluster.apply(endpoint_slice(namespace, "192.0.2.1", "192.0.2.4"))
        until(lambda: told(cluster, namespace, "mig")[3:] == (0, 0, 0), PATIENCE, pause=0.1)
        left = {("192.0.2.2", "v1", "west"), ("192.0.2.3", "v2", "west")}
        until(lambda: placed(cluster) == left, PATIENCE, pause=0.1)
        assert told(cluster, namespace, "west")[3:] == (2, 16, 2)
        cluster.kubectl("delete", "mip,gpupools", "--all", "-n", namespace)
        until(lambda: not live(cluster), PATIENCE)

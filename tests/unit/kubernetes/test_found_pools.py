"""Rows of pools, from objects in memory."""

from __future__ import annotations

import asyncio

from extproc.kubernetes.found_pools import PoolRow, read_rows
from tests.unit.kubernetes.memory_api import MemoryApi, made
from tests.unit.kubernetes.test_cluster_view import service
from tests.unit.kubernetes.test_node_gpus import A100, node
from tests.unit.kubernetes.test_service_endpoints import endpoint, pod, slice_of

V1 = {"apiVersion": "v1"}


def test_pools_with_what_is_found_of_them() -> None:
    cluster = (
        V1 | {"kind": "Node"} | node({**A100, "zone": "west"}),
        V1 | {"kind": "Service"} | service("chat"),
        V1 | {"kind": "Pod"} | pod("a", {"version": "v1"}),
        {"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice"} | slice_of(endpoint("10.0.0.9", "a")),
        made("ModelInferencePolicy", "chat", {"versions": [{"name": "v1"}], "gpuRequirements": {}}),
        made("GpuPool", "west", {"nodeSelector": {"zone": "west"}}),
        made("GpuPool", "moon", {"nodeSelector": {"zone": "moon"}}),
        made("GpuPool", "named", {"architecture": "h100", "endpoints": ["a:1"]}),
        made("GpuPool", "elsewhere", {"architecture": "h100"}, "x"),
    )
    found = asyncio.run(read_rows(MemoryApi(*cluster), ("ai",), {"west": 0.5}))  # type: ignore[arg-type]
    assert [row.name for row in found] == ["moon", "named", "west"]
    moon, named, west = found
    assert (moon.nodes, moon.endpoints, moon.problem.partition(";")[0]) == ((), 0, "no node has the labels zone=moon")
    assert (named.product, named.endpoints, named.nodes, named.problem) == ("h100", None, (), "")
    assert west == PoolRow("ai", "west", "NVIDIA-A100-SXM4-80GB", 81920, "", ("n1",), 8, 1, 0.5, "")
    every = asyncio.run(read_rows(MemoryApi(*cluster), (), {}))  # type: ignore[arg-type]
    assert [f"{row.namespace}/{row.name}" for row in every][-1] == "x/elsewhere"

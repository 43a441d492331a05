"""GPUs by the labels that NVIDIA's and AMD's discovery give to Nodes."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from extproc.kubernetes.node_gpus import gpus_of_node
from extproc.policy.gpu import Requirement, satisfies


def node(labels: dict[str, str], allocatable: dict[str, str] | None = None, name: str = "n1") -> dict[str, Any]:
    return {"metadata": {"name": name, "labels": labels}, "status": {"allocatable": allocatable or {}}}


A100 = {
    "nvidia.com/gpu.product": "NVIDIA-A100-SXM4-80GB",
    "nvidia.com/gpu.memory": "81920",
    "nvidia.com/gpu.count": "8",
    "nvidia.com/gpu.family": "ampere",
    "nvidia.com/gpu.compute.major": "8",
    "nvidia.com/gpu.compute.minor": "0",
}
"""As GPU feature discovery labels a node with eight of them."""


def test_whole_gpus() -> None:
    (found,) = gpus_of_node(node(A100))
    assert (found.node, found.count, found.mig) == ("n1", 8, "")
    assert found.gpu.product == "NVIDIA-A100-SXM4-80GB"
    assert (found.gpu.architecture, found.gpu.family, found.gpu.memory) == ("a100", "ampere", 81920)
    assert satisfies(found.gpu, Requirement("a100", 8192))


def test_what_containers_can_have_counts_more_than_what_is_built_in() -> None:
    (found,) = gpus_of_node(node(A100, {"nvidia.com/gpu": "7"}))
    assert found.count == 7
    assert gpus_of_node(node(A100, {"nvidia.com/gpu": "0"})) == ()


def test_gpus_that_are_shared_are_the_same_gpus() -> None:
    (found,) = gpus_of_node(node(A100 | {"nvidia.com/gpu.product": "NVIDIA-A100-SXM4-80GB-SHARED"}))
    assert found.gpu.product == "NVIDIA-A100-SXM4-80GB"


def test_mig_slices_of_one_size() -> None:
    labels = A100 | {
        "nvidia.com/mig.strategy": "single",
        "nvidia.com/gpu.product": "NVIDIA-A100-SXM4-40GB-MIG-1g.5gb",
        "nvidia.com/gpu.memory": "5120",
        "nvidia.com/gpu.count": "56",
    }
    (found,) = gpus_of_node(node(labels))
    assert (found.count, found.mig, found.gpu.memory, found.gpu.architecture) == (56, "1g.5gb", 5120, "a100")


def test_mig_slices_of_several_sizes_beside_whole_gpus() -> None:
    labels = A100 | {
        "nvidia.com/mig.strategy": "mixed",
        "nvidia.com/gpu.count": "2",
        "nvidia.com/mig-1g.10gb.count": "7",
        "nvidia.com/mig-1g.10gb.memory": "9856",
        "nvidia.com/mig-1g.10gb.product": "NVIDIA-A100-SXM4-80GB-MIG-1g.10gb",
        "nvidia.com/mig-3g.40gb.count": "1",
    }
    whole, small, large = gpus_of_node(node(labels, {"nvidia.com/gpu": "2", "nvidia.com/mig-1g.10gb": "6"}))
    assert (whole.count, whole.mig) == (2, "")
    assert (small.count, small.mig, small.gpu.memory) == (6, "1g.10gb", 9856)
    assert (large.count, large.mig, large.gpu.memory) == (1, "3g.40gb", 40960)
    assert large.gpu.product == "NVIDIA-A100-SXM4-80GB-MIG-3g.40gb"


def test_slices_that_are_being_made_are_none() -> None:
    labels = A100 | {"nvidia.com/gpu.product": "NVIDIA-A100-SXM4-80GB-MIG-INVALID", "nvidia.com/gpu.count": "1"}
    assert gpus_of_node(node(labels)) == ()


def test_what_the_labels_say_of_a_product_that_is_new() -> None:
    new = {"nvidia.com/gpu.product": "NVIDIA-R100", "nvidia.com/gpu.family": "Rubin", "nvidia.com/gpu.memory": "294912"}
    compute = {"nvidia.com/gpu.compute.major": "11", "nvidia.com/gpu.compute.minor": "0"}
    (found,) = gpus_of_node(node(new | compute, {"nvidia.com/gpu": "4"}))
    assert (found.gpu.family, found.gpu.capability, found.gpu.memory) == ("rubin", "11.0", 294912)


@pytest.mark.parametrize("prefix", ["amd.com/gpu", "beta.amd.com/gpu"])
def test_gpus_of_amd(prefix: str) -> None:
    labels = {f"{prefix}.product-name": "AMD_Instinct_MI300X_OAM", f"{prefix}.vram": "192G", f"{prefix}.family": "AI"}
    (found,) = gpus_of_node(node(labels, {"amd.com/gpu": "8"}))
    assert (found.gpu.architecture, found.gpu.family, found.gpu.memory, found.count) == ("mi300x", "cdna3", 196608, 8)


def test_gpus_of_which_only_a_resource_tells() -> None:
    (found,) = gpus_of_node(node({}, {"nvidia.com/gpu": "2"}))
    assert (found.count, found.gpu.product, found.gpu.memory) == (2, "", 0)


@pytest.mark.parametrize("without", [{}, {"metadata": {"name": "n1"}}, node({}), node({}, {"cpu": "8"})])
def test_a_node_without_gpus(without: dict[str, Any]) -> None:
    assert gpus_of_node(without) == ()


WORDS = st.sampled_from(["", "8", "-1", "1e9", "x", "81920", "99999999999999999999", "192G", "NVIDIA-L4", "é"])
LABELS = st.sampled_from([*A100, "nvidia.com/mig-1g.5gb.count", "nvidia.com/mig-1g.5gb.memory", "amd.com/gpu.vram"])


@given(st.dictionaries(LABELS, WORDS), st.dictionaries(st.sampled_from(["nvidia.com/gpu", "amd.com/gpu"]), WORDS))
def test_whatever_stands_in_labels_a_count_is_above_zero(labels: dict[str, str], resources: dict[str, str]) -> None:
    for found in gpus_of_node(node(labels, resources)):
        assert found.count > 0
        assert found.gpu.memory >= 0

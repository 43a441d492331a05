"""A GpuPool: what it means when it is right, and every way in which it is wrong."""

from __future__ import annotations

import re

import pytest

from extproc.policy.gpu import Gpu
from extproc.policy.snapshot import GpuPool
from tests.house.tree import ROOT
from tests.policy_documents import file, found, load_texts, policy, pool, pool_of, said


def test_a_pool_that_says_everything() -> None:
    spec = """
    product: NVIDIA-A100-SXM4-80GB
    memory: 79Gi
    locality: us-west1/a
    cluster: prod-west
    endpoints: ["10.0.0.1:8000", "[::1]:8000"]
    metrics: {type: vllm, url: "http://10.0.0.1:8000/metrics"}
    """
    assert pool_of(spec) == GpuPool(
        "a100-west",
        Gpu("NVIDIA-A100-SXM4-80GB", "a100", "ampere", "8.0", 79 * 1024),
        ("10.0.0.1:8000", "[::1]:8000"),
        "us-west1/a",
        "vllm",
        "http://10.0.0.1:8000/metrics",
        cluster="prod-west",
    )


def test_the_pools_of_the_page_on_several_clusters() -> None:
    page = (ROOT / "docs" / "multi-cluster.md").read_text()
    (example,) = re.findall(r"<!-- policy -->\n```yaml\n(.*?)```", page, re.DOTALL)
    loaded = load_texts([("docs/multi-cluster.md", example)])
    assert loaded.warnings == ()
    assert [(pool.cluster, pool.locality) for pool in loaded.snapshot.pools] == [
        ("prod-west", "us-west1/a"),
        ("prod-east", "us-east1/b"),
    ]


def test_a_pool_that_names_its_nodes() -> None:
    found = pool_of("product: NVIDIA-L4\nnodeSelector: {nvidia.com/gpu.product: NVIDIA-L4, spot: ''}")
    assert found.node_selector == (("nvidia.com/gpu.product", "NVIDIA-L4"), ("spot", ""))


USER = policy("gpuRequirements: {}")
"""A policy that takes any pool; with it a pool begins on line 7, its spec on line 11."""


@pytest.mark.parametrize(
    ("spec", "start"),
    [
        ("memory: 80Gi", "11 spec: names neither product nor architecture; give product (the node label"),
        ("product: ''", "11 spec.product: is empty"),
        ("product: a100\nmemory: 80", "12 spec.memory: 80 bytes is no size of a GPU's memory"),
        ("product: a100\nmemroy: 80Gi", '12 spec.memroy: is not a known field; did you mean "memory"?'),
        ("product: a100\nendpoints: []", "12 spec.endpoints: is an empty list"),
        ("product: a100\nendpoints: [a:1, A:1]", "12 spec.endpoints[1]: the same endpoint as on line 12"),
        ("product: a100\nlocality: [a]", "12 spec.locality: is a list; give a region"),
        ("product: a100\nmetrics: {url: 'http://a/'}", "12 spec.metrics: has no type; give one of vllm"),
        ("product: a100\nmetrics: {type: sglang}", "12 spec.metrics: has no url"),
        ("product: a100\nmetrics: {type: vlm, url: 'http://a/'}", '12 spec.metrics.type: "vlm" is none of'),
        ("product: a100\nmetrics: {type: vllm, url: a}", '12 spec.metrics.url: "a" is not allowed'),
        (
            "product: NVIDIA-A100-SXM4-80GB\narchitecture: h100",
            "12 spec.architecture: contradicts the product, which is a100 (ampere, 8.0), not h100; remove one",
        ),
        ("product: NVIDIA-A100-SXM4-80GB\narchitecture: hopper", "12 spec.architecture: contradicts the product"),
        (
            "product: NVIDIA-X1\nmemory: 8Gi",
            "warning 11 spec.product: is no GPU that is known: nothing follows from it",
        ),
        ("architecture: foo\nmemory: 8Gi", "warning 11 spec.architecture: is no GPU that is known"),
        ("nodeSelector: {pool: a}", "warning 11 spec.nodeSelector: nobody has read the labels of these nodes"),
        ("product: a100\nallowedNamespaces: []", "12 spec.allowedNamespaces: is an empty list"),
        ("product: a100\nallowedNamespaces: [a, a]", "12 spec.allowedNamespaces[1]: the same namespace as on line 12"),
        ("product: a100\nallowedNamespaces: [A*]", '12 spec.allowedNamespaces[0]: "A*" is not allowed'),
        ("product: a100\nnodeSelector: {}", "12 spec.nodeSelector: selects every node; give the labels"),
        ("product: a100\nnodeSelector: a", "12 spec.nodeSelector: is not a mapping"),
        ("product: a100\nnodeSelector: {pool: a b}", "12 spec.nodeSelector.pool: "),
        ("architecture: ampere", "warning 11 spec: the memory of this GPU is not known: it meets no minMemory"),
    ],
)
def test_what_can_be_wrong_in_a_pool(spec: str, start: str) -> None:
    (problem,) = found(file(USER, pool(spec)))
    assert said(problem).startswith(start)


@pytest.mark.parametrize("architecture", ["a100", "ampere", "8.0", "A100-80GB"])
def test_product_and_architecture_may_say_the_same(architecture: str) -> None:
    assert found(file(USER, pool(f"product: NVIDIA-A100-SXM4-80GB\narchitecture: {architecture}"))) == []


def test_a_pool_named_none_is_doubted() -> None:
    (problem,) = found(file(USER, pool(name="none")))
    assert said(problem).startswith("warning 11 spec: a pool named none looks in metrics like no pool")


def test_a_pool_knows_whose_it_is_and_who_may_use_it() -> None:
    text = pool("product: a100\nmemory: 80Gi\nallowedNamespaces: [shop, '*']").replace("}", ", namespace: ai}")
    (only,) = load_texts([("p.yaml", file(USER, text))]).snapshot.pools
    assert (only.namespace, only.allowed_namespaces) == ("ai", ("shop", "*"))

"""``loadBalancer`` of a policy, a version and a pool."""

from __future__ import annotations

import pytest

from extproc.policy.load_balancer import LoadBalancer
from tests.policy_documents import file, found, policy, policy_of, pool, pool_of, said

HASH = LoadBalancer("consistentHash", "x-user-id")


@pytest.mark.parametrize("word", ["leastRequest", "roundRobin", "random"])
def test_words(word: str) -> None:
    assert policy_of(f"loadBalancer: {word}").load_balancer.by == word


def test_a_hash_of_versions_and_pools() -> None:
    written = "loadBalancer: {consistentHash: {header: X-User-Id}}"
    assert policy_of(f"versions: [{{name: v1, {written}}}]").versions[0].load_balancer == HASH
    assert pool_of(f"product: NVIDIA-A100-SXM4-80GB\n{written}").load_balancer == HASH
    assert pool_of("product: NVIDIA-A100-SXM4-80GB").load_balancer is None


REMEDY = "write consistentHash: {header: x-user-id}, or one word: leastRequest, roundRobin, random"


OTHER = "5 spec.loadBalancer.consistentHash"


@pytest.mark.parametrize(
    ("written", "problem"),
    [
        ("consistentHash", f"5 spec.loadBalancer: does not say of what; {REMEDY}"),
        ("{}", f"5 spec.loadBalancer: has no consistentHash; {REMEDY}"),
        ("leastrequest", '5 spec.loadBalancer: "leastrequest" is none of leastRequest, roundRobin, random; did you'),
        ("{consistentHash: {}}", f"{OTHER}: has no header; give the header: header: x-user-id"),
        ("{consistentHash: {header: x-gpu-pool}}", f"{OTHER}.header: x-gpu-pool is set by the processor and never"),
    ],
)
def test_what_is_refused(written: str, problem: str) -> None:
    (only,) = found(policy(f"loadBalancer: {written}"))
    assert said(only).startswith(problem)


def test_a_hash_behind_a_lot_is_doubted() -> None:
    spec = "loadBalancer: {consistentHash: {header: x-user-id}}\ngpuRequirements: {}\n"
    pools = pool(name="a"), pool(name="b")
    (only,) = found(file(policy(spec), *pools))
    assert said(only) == (
        "warning 3 metadata.name: each request is drawn among 2 versions and pools before x-user-id is hashed; "
        "write sticky: {header: x-user-id}, and users stay on one server"
    )
    assert found(file(policy(spec), pools[0])) == []

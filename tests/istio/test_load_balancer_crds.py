"""The CRDs take and refuse the load balancers that `extproc check` takes and refuses, of policies, versions, pools."""

from __future__ import annotations

from typing import Any

import pytest

from .test_policy_crds import checked, documents, refused

GOOD = "leastRequest", "roundRobin", "random", "{consistentHash: {header: X-User}}"
BAD = (
    *("LEAST_REQUEST", "consistentHash", "{}", "{roundRobin: {}}"),
    *("{consistentHash: {}}", "{consistentHash: {cookie: a}}", "{consistentHash: {header: 'a b'}}"),
    "{consistentHash: {header: a}, random: {}}",
)


def around(balancer: str) -> list[dict[str, Any]]:
    return [
        *documents("ModelInferencePolicy", f"{{loadBalancer: {balancer}}}"),
        *documents("ModelInferencePolicy", f"{{versions: [{{name: v1, loadBalancer: {balancer}}}]}}"),
        *documents("GpuPool", f"{{architecture: h100, memory: 80Gi, loadBalancer: {balancer}}}"),
    ]


@pytest.mark.parametrize("balancer", GOOD)
def test_what_check_takes_is_taken(balancer: str) -> None:
    for document in around(balancer):
        assert checked(document) == ""
        assert refused(document) == []


@pytest.mark.parametrize("balancer", BAD)
def test_what_check_refuses_is_refused(balancer: str) -> None:
    for document in around(balancer):
        assert checked(document) != ""
        assert refused(document) != []

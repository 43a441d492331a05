"""Which policies learn the pods of their endpoints."""

from __future__ import annotations

from typing import Any

import pytest

from extproc.kubernetes.endpoint_pods import pods_of, with_pods
from extproc.kubernetes.service_endpoints import Endpoint
from extproc.policyfile.endpoint_pages import MAX_PODS

ENDPOINTS = [
    Endpoint("10.0.0.2:80", pod="ai/b", host_ip="192.168.0.1"),
    Endpoint("10.0.0.1:80", pod="ai/a", host_ip="192.168.0.2"),
    Endpoint("10.0.0.3:80", pod="ai/c"),
    Endpoint("10.0.0.4:80"),
]
PODS = {
    "10.0.0.1:80": {"pod": "ai/a", "hostIP": "192.168.0.2"},
    "10.0.0.2:80": {"pod": "ai/b", "hostIP": "192.168.0.1"},
}


def test_endpoints_whose_pods_and_nodes_are_known() -> None:
    assert list(pods_of(ENDPOINTS).items()) == list(PODS.items())
    many = [Endpoint(f"h:{n}", pod="ai/a", host_ip="1.1.1.1") for n in range(MAX_PODS + 1)]
    assert len(pods_of(many)) == MAX_PODS


def test_endpoints_of_several_versions_take_one_place() -> None:
    shared = [Endpoint(f"h:{n}", pod="ai/a", host_ip="1.1.1.1") for n in range(MAX_PODS)]
    assert len(pods_of(shared * 2)) == MAX_PODS


@pytest.mark.parametrize("host_ip", ["node-1", "fe80::1%eth0", "1.2.3", "::1]:80/?"])
def test_a_node_without_an_address_is_not_known(host_ip: str) -> None:
    assert pods_of([*ENDPOINTS, Endpoint("10.0.0.5:80", pod="ai/d", host_ip=host_ip)]) == PODS


def test_a_policy_that_asks_for_gpus_gets_them() -> None:
    spec = {"host": "a", "picking": {"by": "prefix", "metrics": {"type": "vllm", "gpuPort": 9400}}}
    wanted = {"by": "prefix", "metrics": {"type": "vllm", "gpuPort": 9400, "pods": PODS}}
    assert with_pods(spec, ENDPOINTS) == {"host": "a", "picking": wanted}
    assert with_pods(spec, ENDPOINTS[2:]) == spec


@pytest.mark.parametrize(
    "picking", [None, "x", {}, {"metrics": 5}, {"metrics": {}}, {"metrics": {"gpuPort": 1, "pods": {}}}]
)
def test_any_other_stays_as_it_is(picking: Any) -> None:
    spec = {} if picking is None else {"picking": picking}
    assert with_pods(spec, ENDPOINTS) == spec

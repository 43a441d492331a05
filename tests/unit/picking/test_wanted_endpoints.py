"""Which endpoints are on the board, and where each one's page is."""

from __future__ import annotations

from math import inf

import pytest
from msgspec.structs import replace

from extproc.picking.board import GpuSource, Page, Wanted
from extproc.picking.wanted_endpoints import page_of, picked_targets, wanted_endpoints
from extproc.policy.gpu import Gpu
from extproc.policy.picking import EndpointPages, EndpointPod, Picking
from extproc.policy.snapshot import GpuPool, Policy, Snapshot, Version
from tests.unit.picking.boards import A, B, C


def pool(kind: str = "", url: str = "") -> GpuPool:
    return GpuPool("west", Gpu(), (A, B), metrics_type=kind, metrics_url=url)


@pytest.mark.parametrize(
    ("pages", "kind", "url", "tls", "page"),
    [
        (EndpointPages(), "", "", False, None),
        (EndpointPages(port=1, path="/m"), "", "", False, None),
        (EndpointPages(), "vllm", "", False, ("vllm", f"http://{A}/metrics")),
        (EndpointPages(), "nim", "", False, ("nim", f"http://{A}/v1/metrics")),
        (EndpointPages(), "vllm", "", True, ("vllm", f"https://{A}/metrics")),
        (EndpointPages(), "vllm", "http://10.9.9.9:1/a?b=c", True, ("vllm", f"http://{A}/a?b=c")),
        (EndpointPages(), "vllm", "https://10.9.9.9/a", False, ("vllm", f"https://{A}/a")),
        (
            EndpointPages("sglang", 30001, "/x"),
            "vllm",
            "http://10.9.9.9:1/a",
            False,
            ("sglang", "http://10.0.0.1:30001/x"),
        ),
    ],
)
def test_each_endpoint_has_a_page(
    pages: EndpointPages, kind: str, url: str, tls: bool, page: tuple[str, str] | None
) -> None:
    wanted = Page(*page, 0.1) if page else None
    assert page_of(A, Picking(metrics=pages), pool(kind, url), tls=tls) == wanted
    if not kind:
        assert page_of(A, Picking(metrics=pages), None, tls=tls) == wanted


def test_an_ipv6_address_keeps_its_brackets() -> None:
    page = page_of(C, Picking(metrics=EndpointPages("vllm", 9, interval=0.2)), None, tls=False)
    assert page == Page("vllm", "http://[fd00::1]:9/metrics", 0.2)


def test_the_endpoints_of_policies_that_pick() -> None:
    picked = Policy("a", host="a", versions=(Version("v1", gpu_pools=("west",)), Version("m", mirror=5)), timeout=30.0)
    others = Policy("b", host="b", versions=(Version("v1", endpoints=("10.8.8.8:1",)),))
    plain = Policy("c", host="10.7.7.7", port=7, picking=Picking(metrics=EndpointPages("tgi")))
    snapshot = Snapshot((picked, others, plain), (pool("vllm"),))
    assert list(wanted_endpoints(snapshot)) == ["10.7.7.7:7"]
    picked = replace(picked, picking=Picking())
    snapshot = Snapshot((picked, others, plain), (pool("vllm"),))
    assert wanted_endpoints(snapshot) == {
        A: Wanted(Page("vllm", f"http://{A}/metrics", 0.1), 30.0),
        B: Wanted(Page("vllm", f"http://{B}/metrics", 0.1), 30.0),
        "10.7.7.7:7": Wanted(Page("tgi", "http://10.7.7.7:7/metrics", 0.1), inf),
    }
    assert [target.cluster for _, target in picked_targets(snapshot)] == ["a/v1/west", "c"]


def test_servers_of_grpc_have_a_page_where_its_port_is_named() -> None:
    version = Version("v", endpoints=(A,), grpc_endpoints=(B,))
    found = wanted_endpoints(Snapshot((Policy("a", host="a", versions=(version,), picking=Picking()),)))
    assert found == {A: Wanted(), B: Wanted()}
    picking = Picking(metrics=EndpointPages("triton", 8002))
    found = wanted_endpoints(Snapshot((Policy("a", host="a", versions=(version,), picking=picking),)))
    assert [wanted.page.url for wanted in found.values() if wanted.page] == [
        "http://10.0.0.1:8002/metrics",
        "http://10.0.0.2:8002/metrics",
    ]


def test_gpus_are_told_on_the_node_of_a_pod_or_on_the_host_of_an_endpoint() -> None:
    version = Version("v", endpoints=(A, C), grpc_endpoints=(B,))
    pods = (EndpointPod(A, "ai/a", "fd00::7"), EndpointPod(B, "ai/a", "192.168.0.7"))
    policy = Policy(
        "a", host="a", versions=(version,), picking=Picking(metrics=EndpointPages(gpu_port=9400, pods=pods))
    )
    assert {endpoint: wanted.gpus for endpoint, wanted in wanted_endpoints(Snapshot((policy,))).items()} == {
        A: GpuSource("http://[fd00::7]:9400/metrics", "ai/a"),
        B: GpuSource("http://192.168.0.7:9400/metrics", "ai/a"),
        C: GpuSource("http://[fd00::1]:9400/metrics"),
    }

"""Endpoints by EndpointSlices and Pods: ready, serving, terminating; ports by name; addresses that two slices name."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from extproc.kubernetes.service_endpoints import Endpoint, Pods, of_pods, of_slices, usable

Doc = dict[str, Any]


def pod(
    name: str, labels: dict[str, str] | None = None, *, ip: str = "10.0.0.9", ready: bool = True, **more: Any
) -> Doc:
    condition = {"type": "Ready", "status": str(ready)}
    return {
        "metadata": {"name": name, "namespace": "ai", "labels": labels or {}, **more},
        "spec": {"nodeName": "n1"},
        "status": {"podIP": ip, "hostIP": "192.168.0.1", "phase": "Running", "conditions": [condition]},
    }


def slice_of(*endpoints: Doc, ports: list[Doc] | None = None) -> Doc:
    return {
        "metadata": {"name": "chat-1", "namespace": "ai", "labels": {"kubernetes.io/service-name": "chat"}},
        "ports": [{"name": "http", "port": 8000}] if ports is None else ports,
        "endpoints": list(endpoints),
    }


def endpoint(address: str, pod_name: str = "", **conditions: Any) -> Doc:
    ref = {"targetRef": {"kind": "Pod", "name": pod_name, "namespace": "ai"}} if pod_name else {}
    return {"addresses": [address], "nodeName": "n1", "conditions": conditions, **ref}


def addresses(found: tuple[Endpoint, ...]) -> list[str]:
    return [one.address for one in found]


def test_an_endpoint_has_its_node_and_its_pods_labels() -> None:
    pods = Pods([pod("chat-a", {"version": "v1", "app": "chat"})])
    (found,) = of_slices([slice_of(endpoint("10.0.0.9", "chat-a", ready=True))], "http", pods)
    labels = (("app", "chat"), ("version", "v1"))
    assert found == Endpoint("10.0.0.9:8000", node="n1", labels=labels, pod="ai/chat-a", host_ip="192.168.0.1")
    (gone,) = of_slices([slice_of(endpoint("10.0.0.9", "chat-b", ready=True))], "http", pods)
    assert (gone.pod, gone.host_ip) == ("", "")


@pytest.mark.parametrize(
    ("conditions", "ready", "serving", "terminating"),
    [
        ({}, True, True, False),
        ({"ready": None, "serving": None, "terminating": None}, True, True, False),
        ({"ready": False}, False, False, False),
        ({"ready": False, "serving": True, "terminating": True}, False, True, True),
        ({"ready": False, "serving": False, "terminating": True}, False, False, True),
    ],
)
def test_conditions(conditions: dict[str, Any], ready: bool, serving: bool, terminating: bool) -> None:
    (found,) = of_slices([slice_of(endpoint("10.0.0.9", **conditions))], "http", Pods())
    assert (found.ready, found.serving, found.terminating) == (ready, serving, terminating)


def test_who_is_ready_takes_requests_and_else_who_still_serves() -> None:
    ready = Endpoint("a:1")
    ending = Endpoint("b:1", ready=False, serving=True, terminating=True)
    gone = Endpoint("c:1", ready=False, serving=False, terminating=True)
    starting = Endpoint("d:1", ready=False, serving=False)
    published = Endpoint("e:1", ready=True, serving=True, terminating=True)  # publishNotReadyAddresses
    assert usable([ready, ending, gone, starting, published]) == (ready,)
    assert usable([ending, gone, starting]) == (ending,)
    assert usable([gone, starting]) == ()


def test_the_port_is_found_by_the_name_that_the_service_gives_it() -> None:
    ports = [{"name": "metrics", "port": 9000}, {"name": "http", "port": 8000}]
    slices = [slice_of(endpoint("10.0.0.9"), ports=ports)]
    assert addresses(of_slices(slices, "http", Pods())) == ["10.0.0.9:8000"]
    assert of_slices(slices, "grpc", Pods()) == ()
    assert of_slices(slices, None, Pods()) == ()
    assert addresses(of_slices([slice_of(endpoint("10.0.0.9"), ports=[{"port": 80}])], "", Pods())) == ["10.0.0.9:80"]
    assert addresses(of_slices([slice_of(endpoint("10.0.0.9"))], None, Pods())) == ["10.0.0.9:8000"]
    assert of_slices([slice_of(endpoint("10.0.0.9"), ports=[])], None, Pods()) == ()


def test_an_address_that_moves_between_slices_counts_once() -> None:
    slices = [slice_of(endpoint("10.0.0.9", ready=False)), slice_of(endpoint("10.0.0.9", ready=True))]
    (found,) = of_slices(slices, "http", Pods())
    assert found.ready


def test_ipv6_is_in_brackets() -> None:
    assert addresses(of_slices([slice_of(endpoint("fd00::1"))], "http", Pods())) == ["[fd00::1]:8000"]


def test_a_slice_without_endpoints_has_none() -> None:
    assert of_slices([{**slice_of(), "endpoints": None}], "http", Pods()) == ()


def test_pods_where_no_service_tells_of_them() -> None:
    found = of_pods(
        [
            pod("a", {"version": "v1"}, ip="10.0.0.1"),
            pod("b", ip="10.0.0.2", ready=False),
            pod("c", ip="10.0.0.3", deletionTimestamp="2026-01-01T00:00:00Z"),
            pod("d", ip=""),
            {**pod("e", ip="10.0.0.5"), "status": {"podIP": "10.0.0.5", "phase": "Failed"}},
        ],
        8000,
    )
    assert [(e.address, e.ready, e.terminating) for e in found] == [
        ("10.0.0.1:8000", True, False),
        ("10.0.0.2:8000", False, False),
        ("10.0.0.3:8000", False, True),
    ]
    assert addresses(usable(found)) == ["10.0.0.1:8000"]
    assert (found[0].labels, found[0].pod, found[0].host_ip) == ((("version", "v1"),), "ai/a", "192.168.0.1")


def test_pods_are_selected_by_all_labels_in_their_namespace() -> None:
    one, other = pod("a", {"app": "chat", "version": "v1"}), pod("b", {"app": "chat"})
    pods = Pods([one, other, {**pod("c", {"app": "chat"}), "metadata": {"name": "c", "namespace": "x"}}])
    assert pods.selected("ai", [("app", "chat")]) == (one, other)
    assert pods.selected("ai", [("app", "chat"), ("version", "v1")]) == (one,)
    assert pods.selected("ai", []) == ()


STATES = st.builds(Endpoint, st.sampled_from(["a:1", "b:1", "c:1"]), st.booleans(), st.booleans(), st.booleans())


@given(st.lists(STATES))
def test_what_takes_requests_is_all_ready_or_all_ending(known: list[Endpoint]) -> None:
    found = usable(known)
    assert set(found) <= set(known)
    assert len({(e.ready and not e.terminating) for e in found}) <= 1
    assert all(e.serving or e.ready for e in found)

"""VirtualServices: routes in order, what they match, remove, retry and mirror."""

from __future__ import annotations

from typing import Any, Literal

import pytest

from extproc.policy.gpu import Requirement
from extproc.policy.snapshot import GpuPool, Policy, Snapshot, Version
from extproc.render.istio.istio_options import IstioOptions
from extproc.render.istio.virtual_services import catch_all, default_route, gateway_hosts, virtual_services
from tests.unit.render.snapshots import A100, CANARY, MIRRORED, PLAIN, POOLED, UNSERVED, Doc, policy

MESH = IstioOptions(proxies=("sidecar",))
TARGETED = ["x-model-version", "x-gpu-pool", "x-gpu-architecture"]


def routes(snapshot: Snapshot, options: IstioOptions = MESH) -> dict[str, Doc]:
    """Those that are not for gRPC, by their names."""
    (only,) = virtual_services(snapshot, options)
    return {route["name"]: route for route in only["spec"]["http"] if not route["name"].endswith("-grpc")}


def matches(route: Doc) -> list[dict[str, str]]:
    """For each alternative the headers with the text that they must be or match."""
    return [
        {name: next(iter(text.values())) for name, text in one["headers"].items()} for one in route.get("match", [])
    ]


def removed(route: Doc) -> list[str]:
    return list(route.get("headers", {"request": {"remove": []}})["request"]["remove"])


@pytest.mark.parametrize(
    ("options", "found"),
    [
        (IstioOptions(), [["chat.ai.svc.cluster.local"], ["chat.ai.svc.cluster.local"]]),
        (IstioOptions(hosts=("llm.example.com",)), [["chat.ai.svc.cluster.local"], ["llm.example.com"]]),
        (IstioOptions(proxies=("gateway",)), [["chat.ai.svc.cluster.local"]]),
        (IstioOptions(proxies=("waypoint",)), [["chat.ai.svc.cluster.local"]]),
        (IstioOptions(proxies=("inbound",)), []),
    ],
)
def test_one_for_the_host_and_one_for_the_gateway(options: IstioOptions, found: list[list[str]]) -> None:
    services = virtual_services(CANARY, options)
    assert [one["spec"]["hosts"] for one in services] == found
    assert [one["spec"].get("gateways") for one in services if one["metadata"]["name"] == "aimesh-gateway"] == (
        [["istio-ingress/gateway"]] if "gateway" in options.proxies else []
    )


def test_no_policies_no_services() -> None:
    assert virtual_services(Snapshot(), IstioOptions()) == []


def test_policies_on_one_host_are_one_service() -> None:
    both = Snapshot((*CANARY.policies, Policy("b", "ai", host="chat", models=("b",))))
    (only,) = virtual_services(both, MESH)
    assert only["metadata"]["name"] == "aimesh-chat-ai"
    names = [route["name"] for route in only["spec"]["http"][1::2]]
    assert names == ["chat-v1", "chat-v2", "chat-model", "b-model", "chat-default"]


def test_every_route_has_one_for_grpc_in_front() -> None:
    (only,) = virtual_services(CANARY, MESH)
    http = only["spec"]["http"]
    assert [route["name"] for route in http] == [
        *("chat-v1-grpc", "chat-v1", "chat-v2-grpc", "chat-v2", "chat-default-grpc", "chat-default")
    ]
    for grpc, other in zip(http[::2], http[1::2], strict=True):
        assert grpc["route"] == other["route"]
        assert grpc["retries"] == {"attempts": 0}
        assert all(one["headers"]["content-type"] == {"prefix": "application/grpc"} for one in grpc["match"])
    assert "match" not in http[-1]


def test_what_routes_match_and_remove() -> None:
    found = routes(POOLED)
    assert list(found) == ["chat-v1-west", "chat-v1-east", "chat-default"]
    west = found["chat-v1-west"]
    assert matches(west) == [{"x-model-name": "llama", "x-model-version": "v1", "x-gpu-pool": "west"}]
    assert west["route"] == [
        {"destination": {"host": "chat.aimesh.internal", "subset": "v1-west", "port": {"number": 8080}}}
    ]
    assert (removed(west), removed(found["chat-default"])) == ([], TARGETED)
    assert [one["weight"] for one in found["chat-default"]["route"]] == [2, 1]


def test_each_route_removes_what_does_not_serve() -> None:
    """A policy with versions and a plain one on the same host."""
    chat = policy(versions=(Version("v1"),), gpu=Requirement("a100"))
    plain = Policy("plain", "ai", host="chat", models=("*",))
    found = routes(Snapshot((chat, plain), (GpuPool("west", A100),)))
    assert {name: removed(route) for name, route in found.items()} == {
        "chat-v1-west": [],
        "chat-model": TARGETED,
        "plain-default": ["x-gpu-pool"],
    }


def test_a_pin_that_no_processor_has_checked_goes_no_further() -> None:
    found = routes(Snapshot((policy(versions=(Version("v1"), Version("v2")), allow_pin=True),)))
    assert removed(found["chat-default"]) == removed(found["chat-model"]) == TARGETED
    plain = routes(Snapshot((Policy("plain", "ai", host="plain", allow_pin=True),)))
    assert matches(plain["plain-model"]) == [{"x-model-name": ".+"}]
    assert removed(plain["plain-default"]) == TARGETED


def test_models_of_a_policy_are_alternatives_and_globs_come_later() -> None:
    snapshot = Snapshot((policy(models=("a", "b*", "2e5", "ünï"), versions=(Version("v1"),)),))
    (only,) = virtual_services(snapshot, MESH)
    named = [matches(route) for route in only["spec"]["http"][1::2]]
    assert [[one["x-model-name"] for one in alternatives] for alternatives in named] == [
        ["a", "2e5", "%C3%BCn%C3%AF"],
        ["b.*"],
        [],
    ]


def test_a_policy_that_nothing_can_serve_is_503() -> None:
    (route,) = routes(UNSERVED).values()
    assert route == {"name": "chat-default", "directResponse": {"status": 503}}


def test_mirrors_on_every_route() -> None:
    destination = {"host": "chat.aimesh.internal", "subset": "next", "port": {"number": 8080}}
    for route in routes(MIRRORED).values():
        assert route["mirrors"] == [{"destination": destination, "percentage": {"value": 30.0}}]


def test_a_mirror_s_share_is_divided_among_its_pools() -> None:
    versions = (Version("v1", 1, ("x.ai.svc:1",), gpu_pools=()), Version("m", 0, mirror=30))
    pools = (GpuPool("big", A100, ("10.0.0.1:1", "10.0.0.2:1")), GpuPool("small", A100, ("10.0.0.3:1",)))
    found = routes(Snapshot((policy(versions=versions, gpu=Requirement(), reject_without_gpu=False),), pools))
    shares = [(one["destination"]["subset"], one["percentage"]["value"]) for one in found["chat-default"]["mirrors"]]
    assert shares == [("m-big", 20.0), ("m-small", 10.0)]


@pytest.mark.parametrize(
    ("body", "timeout", "retries"),
    [
        ("buffered", None, {"attempts": 2}),
        ("buffered", 0.5, {"attempts": 2, "perTryTimeout": "0.5s"}),
        ("buffered", 1.23456, {"attempts": 2, "perTryTimeout": "1.235s"}),
        ("streamed", 0.5, {"attempts": 0}),
    ],
)
def test_timeouts_and_retries(
    body: Literal["buffered", "streamed"], timeout: float | None, retries: dict[str, Any]
) -> None:
    (route,) = routes(Snapshot((policy(timeout=timeout),)), IstioOptions(proxies=("sidecar",), body=body)).values()
    retry_on = {"retryOn": "connect-failure,refused-stream,reset-before-request"} if retries["attempts"] else {}
    assert route["retries"] == retries | retry_on
    assert "timeout" not in route


@pytest.mark.parametrize(
    ("places", "attempts"),
    [
        (("", "us-east1"), 2),
        (("us-west1/a", "us-west1/a"), 2),
        (("us-west1/a", "us-east1"), 2),
        (("us-west1/a", "us-west1/b", "us-east1"), 4),
    ],
)
def test_retries_reach_the_farthest_pool_that_stands_in(places: tuple[str, ...], attempts: int) -> None:
    pools = tuple(GpuPool(f"p{n}", A100, (f"10.0.0.{n}:80",), place) for n, place in enumerate(places))
    found = routes(Snapshot(POOLED.policies, pools))
    leaves = len({*places} - {""}) > 1
    assert found["chat-v1-p0"]["retries"]["attempts"] == attempts
    assert all(("retryRemoteLocalities" in route["retries"]) is leaves for route in found.values())


def test_weights_fit_into_a_route() -> None:
    huge = policy(versions=(Version("a", 3 << 40, ("a.ai.svc:1",)), Version("b", 1 << 40, ("b.ai.svc:1",))))
    first, second = (one["weight"] for one in routes(Snapshot((huge,)))["chat-default"]["route"])
    assert first + second < 1 << 31
    assert first / second == pytest.approx(3)


def test_who_gets_requests_without_a_model() -> None:
    chat, plain = CANARY.policies[0], PLAIN.policies[0]
    both = Snapshot((chat, plain))
    assert catch_all(both, [chat, plain]) is plain
    assert catch_all(both, [chat]) is chat
    assert default_route(plain) == "plain-default"


def test_the_gateway_s_hosts() -> None:
    both = Snapshot((*CANARY.policies, *PLAIN.policies, Policy("b", "ai", host="chat", models=("b",))))
    assert gateway_hosts(both, MESH) == ["chat.ai.svc.cluster.local", "plain.ai.svc.cluster.local"]
    assert gateway_hosts(both, IstioOptions(hosts=("a", "b"))) == ["a", "b"]

"""Requests that wait for a server, through the real Envoy: their order, who is refused, and who leaves."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from copy import deepcopy
from typing import Any, TypeAlias

import pytest

from extproc.policy.picking import Picking, Saturation
from extproc.policy.snapshot import Policy, Snapshot, Version
from tests.grpc.messages import value
from tests.queued_requests import Pages
from tests.waiting import until

from .conftest import Gateway, ModelServer, Processor, Response
from .test_picking import of_the_protocol

pytestmark = pytest.mark.envoy

Servers: TypeAlias = Callable[..., list[ModelServer]]
Processors: TypeAlias = Callable[..., Processor]
Gateways: TypeAlias = Callable[..., Gateway]
PATIENT = {"message_timeout": 60.0}
MODES = ("BUFFERED", "STREAMED", "FULL_DUPLEX_STREAMED")


class Scene:
    """Two servers that are saturated at first, and tell at once what they are sent."""

    def __init__(self, servers: Sequence[ModelServer], processor: Processors, **spec: Any) -> None:
        self.servers = servers
        self.endpoints = tuple(server.address for server in servers)
        self.processor = processor(self.policies(**spec))
        self.board = self.processor.board = Pages()
        self.board.waiting = dict.fromkeys(self.endpoints, 1)

    def policies(self, **spec: Any) -> Snapshot:
        picking = Picking(
            "least-loaded", saturation=Saturation(waiting=0), objectives=(("chat", 5), ("batch", -1)), **spec
        )
        return Snapshot((Policy("chat", versions=(Version("v1", 1, self.endpoints),), picking=picking),))

    def free(self, number: int) -> None:
        """One server has finished, and tells so."""
        self.board.waiting = {**self.board.waiting, self.endpoints[number]: 0}

    @property
    def waiting(self) -> int:
        return sum(self.processor.picks.waiting(self.processor.snapshot).values())

    def served(self) -> list[str]:
        """What was asked, in order."""
        return [json.loads(seen.body)["messages"][0] for server in self.servers for seen in server.seen]

    def ended(self, outcome: str) -> float:
        return value(self.processor.metrics, "inference_queue_requests_total", policy="chat", outcome=outcome) or 0


class Clients:
    """Requests at the same time, the next one sent when the one before waits."""

    def __init__(self, scene: Scene, gateway: Gateway, threads: ThreadPoolExecutor) -> None:
        self.scene, self.gateway, self.threads = scene, gateway, threads

    def ask(self, content: str, objective: str = "", user: str = "", **headers: str) -> Future[Response]:
        said = {"x_gateway_inference_objective": objective, "x_gateway_inference_fairness_id": user} | headers
        before = self.scene.waiting
        body = {"model": "llama", "messages": [content]}
        answer = self.threads.submit(self.gateway.post, body, **{name: text for name, text in said.items() if text})
        until(lambda: self.scene.waiting > before)
        return answer


@contextmanager
def clients(scene: Scene, gateway: Gateway) -> Iterator[Clients]:
    with ThreadPoolExecutor(16) as threads:
        yield Clients(scene, gateway, threads)


def test_ten_that_wait(servers: Servers, processor: Processors, gateway: Gateways) -> None:
    scene = Scene(servers("a", "b"), processor, max_queue=10)
    envoy = gateway(scene.processor.snapshot, scene.processor.address, **PATIENT)
    with clients(scene, envoy) as crowd:
        ann = {f"ann {n}": crowd.ask(f"ann {n}", user="ann") for n in range(6)}
        bob = {f"bob {n}": crowd.ask(f"bob {n}", user="bob") for n in range(2)}
        urgent = {f"urgent {n}": crowd.ask(f"urgent {n}", "chat", "ann") for n in range(2)}
        answers = ann | bob | urgent
        for name, objective, code in (("too many", "", "queue_full"), ("not urgent", "batch", "saturated")):
            said = {"x_gateway_inference_objective": objective, "x_gateway_inference_fairness_id": "ann"}
            refused = envoy.post({"model": "llama", "messages": [name]}, **said)
            assert (refused.status, refused.error["code"], refused.headers["retry-after"]) == (429, code, "1")
        order: list[str] = []
        for turn in range(10):
            scene.free(turn % 2)
            until(lambda turn=turn: len(scene.served()) == turn + 1)  # type: ignore[misc]
            order += set(scene.served()) - set(order)
        assert order[:2] == ["urgent 0", "urgent 1"]
        assert order[2:6] == ["ann 0", "bob 0", "ann 1", "bob 1"]
        assert order[6:] == [f"ann {n}" for n in range(2, 6)]
        assert {answer.result().status for answer in answers.values()} == {200}
        assert [answer.result().text for answer in urgent.values()] == ["a", "b"]
    assert (scene.ended("routed"), scene.ended("queue_full")) == (10, 1)

    # A client that leaves leaves nothing behind, and takes nobody's turn.
    with clients(scene, envoy) as crowd:
        leaving = envoy.open()
        leaving.request("POST", "/v1/chat/completions", json.dumps({"model": "llama", "messages": ["leaves"]}))
        until(lambda: scene.waiting == 1)
        stays = crowd.ask("stays")
        leaving.close()
        until(lambda: scene.ended("client_left") == 1)
        scene.free(0)
        assert stays.result().status == 200
        assert "leaves" not in scene.served()

        # Policies that have no queue any more let those go that wait, as soon as somebody comes by them.
        rest = [crowd.ask(f"rest {n}") for n in range(3)]
        scene.processor.snapshot = scene.policies()
        assert envoy.post({"model": "llama", "messages": ["newer"]}).status == 200
        assert {answer.result().status for answer in rest} == {200}
    assert scene.waiting == 0
    until(lambda: scene.processor.metrics.streams == 0)
    until(lambda: not scene.board.sent.total())  # each has ended, by Envoy's access log


def with_brief_routes(document: dict[str, Any]) -> None:
    """Requests with ``x-brief`` come with word of an Envoy that waits for a tenth of a second only."""
    of_the_protocol(document)
    (listener,) = document["static_resources"]["listeners"]
    manager = listener["filter_chains"][0]["filters"][0]["typed_config"]
    (route,) = (one["typed_config"] for one in manager["http_filters"] if one["name"] == "aimesh.route")
    brief = deepcopy(route["grpc_service"])
    (told,) = brief["initial_metadata"]
    assert told == {"key": "x-aimesh-message-timeout", "value": "60s"}
    told["value"] = "0.1s"
    routes = manager["route_config"]["virtual_hosts"][0]["routes"]
    for before in reversed(routes[-len(MODES) :]):
        after = deepcopy(before)
        after["match"].setdefault("headers", []).append({"name": "x-brief", "present_match": True})
        kind = "type.googleapis.com/envoy.extensions.filters.http.ext_proc.v3.ExtProcPerRoute"
        overrides = after.setdefault("typed_per_filter_config", {}).setdefault("aimesh.route", {"@type": kind})
        overrides.setdefault("overrides", {})["grpc_service"] = brief
        routes.insert(0, after)


def test_in_each_body_mode(servers: Servers, processor: Processors, gateway: Gateways) -> None:
    scene = Scene(servers("a"), processor, max_queue=1)
    envoy = gateway(
        scene.processor.snapshot, scene.processor.address, alter=with_brief_routes, fail_open=False, **PATIENT
    )
    with clients(scene, envoy) as crowd:
        for mode in MODES:
            large = mode[0] * 300_000
            answer = crowd.ask(large, x_mode=mode)
            scene.free(0)
            assert answer.result().status == 200, mode
            assert scene.served()[-1] == large
            assert scene.servers[0].seen[-1].headers["x-gateway-destination-endpoint"] == scene.endpoints[0]
            late = envoy.post({"model": "llama", "messages": []}, x_mode=mode, x_brief="yes")
            assert (late.status, late.error["code"], late.headers["retry-after"]) == (429, "queue_timeout", "1")
    assert (scene.ended("queue_timeout"), scene.waiting) == (3, 0)

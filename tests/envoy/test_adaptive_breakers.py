"""Circuit breakers behind a real Envoy: limits, other pools, fallbacks, refusals, ejection for broken streams."""

from __future__ import annotations

import http.client
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from time import perf_counter
from typing import Any

import pytest

from extproc.headers import Headers
from extproc.policy import gpu
from extproc.policy.breaker import CLOSED, EJECTED, PROBES
from extproc.policy.circuit_breaker import CircuitBreaker
from extproc.policy.gpu import Requirement
from extproc.policy.objectives import Objective, Slo
from extproc.policy.picking import Picking
from extproc.policy.snapshot import GpuPool, Policy, Snapshot, Version
from extproc.policy.usual_time import FIRST_BLOCK
from tests.waiting import until

from .conftest import Gateway, Handler, ModelServer, Processor
from .test_rollouts import stream

pytestmark = pytest.mark.envoy

Servers = Callable[..., list[ModelServer]]
Start = Callable[..., Any]
GPU = gpu.describe("NVIDIA-A100-SXM4-80GB")


def held(release: threading.Event) -> Callable[[Handler], None]:
    """A stream whose first token waits for ``release``."""

    def answer(request: Handler) -> None:
        release.wait(30)
        stream(1)(request)

    return answer


@contextmanager
def asking(envoy: Gateway, times: int, **fields: Any) -> Iterator[list[http.client.HTTPResponse]]:
    """So many requests, whose answers are there at the end."""
    connections = [envoy.open(30) for _ in range(times)]
    for connection in connections:
        body = json.dumps({"stream": True, "messages": [], **fields})
        connection.request("POST", "/v1/chat/completions", body, {"content-type": "application/json"})
    answers: list[http.client.HTTPResponse] = []
    yield answers
    for connection in connections:
        answers.append(connection.getresponse())
        answers[-1].read()
        connection.close()


def in_flight(processor: Processor) -> dict[tuple[str, str, str], float]:
    return {name: present for name, (_, present, *_) in processor.breakers.describe(processor.snapshot).items()}


def diverted(processor: Processor) -> dict[Any, float]:
    return dict(processor.metrics._counters["inference_diverted"])


def test_beyond_its_limit_a_version_spills_falls_back_and_refuses(
    servers: Servers, processor: Start, gateway: Start
) -> None:
    west, east, old = servers("west", "east", "old")
    release = threading.Event()
    west.then = east.then = old.then = held(release)
    versions = Version("v2", 1, gpu_pools=("west", "east")), Version("v1", 0, (old.address,), gpu_pools=())
    breaker = CircuitBreaker(1, 2, fallback_version="v1")
    pools = tuple(GpuPool(s_name, GPU, (s.address,)) for s_name, s in (("west", west), ("east", east)))
    policy = Policy("chat", models=("chat",), versions=versions, gpu=Requirement(), breaker=breaker)
    started: Processor = processor(Snapshot((policy,), pools))
    envoy: Gateway = gateway(started.snapshot, started.address, message_timeout=20)
    with asking(envoy, 4, model="chat"):
        until(lambda: in_flight(started) == {("chat", "v2", "west"): 2, ("chat", "v2", "east"): 2})
        with asking(envoy, 2, model="chat") as behind:
            until(lambda: in_flight(started).get(("chat", "v1", "")) == 2)
            refused = envoy.ask("chat")
            assert (refused.status, refused.error["code"], refused.headers["retry-after"]) == (429, "no_room", "1")
            release.set()
        told = {(a.status, a.headers["x-model-version"], a.headers["x-model-cohort"]) for a in behind}
        assert told == {(200, "v1", "fallback")}
    until(lambda: set(in_flight(started).values()) == {0})  # nothing is counted for ever
    assert [seen.headers.get("x-model-cohort") for seen in (*west.seen, *east.seen)] == [None] * 4
    assert [seen.headers["x-model-cohort"] for seen in old.seen] == ["fallback"] * 2
    moved = diverted(started)
    assert (moved["chat", "v2", "version"], moved["chat", "v2", "refused"]) == (2, 1)


def test_another_policy_answers_by_its_own_model(servers: Servers, processor: Start, gateway: Start) -> None:
    large, small = servers("large", "small")
    release = threading.Event()
    large.then = held(release)
    breaker = CircuitBreaker(1, 1, fallback_policy="small")
    policies = (
        Policy("large", models=("large-*",), versions=(Version("v1", 1, (large.address,)),), breaker=breaker),
        Policy("small", models=("small-8b",), versions=(Version("s1", 1, (small.address,)),)),
    )
    started: Processor = processor(Snapshot(policies))
    envoy: Gateway = gateway(started.snapshot, started.address, message_timeout=20)
    with asking(envoy, 1, model="large-70b"):
        until(lambda: in_flight(started) == {("large", "v1", ""): 1})
        answer = envoy.ask("large-70b")
        assert (answer.text, answer.headers["x-model-name"]) == ("small", "small-8b")
        assert (answer.headers["x-model-version"], answer.headers["x-model-cohort"]) == ("s1", "fallback")
        assert json.loads(small.seen[0].body)["model"] == "small-8b"
        release.set()
    assert diverted(started) == {("large", "v1", "policy"): 1}


def test_who_breaks_its_streams_is_ejected_and_comes_back(
    servers: Servers, processor: Start, gateway: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("extproc.policy.breaker.EJECTION", 20.0)
    bad, good = servers("bad", "good")
    bad.then, good.then = stream(broken=True), stream()
    versions = Version("v2", 1, (bad.address,)), Version("v1", 0, (good.address,))
    policy = Policy("chat", models=("chat",), versions=versions, breaker=CircuitBreaker(fallback_version="v1"))
    started: Processor = processor(Snapshot((policy,)))
    envoy: Gateway = gateway(started.snapshot, started.address, message_timeout=20)

    def state() -> str:
        found = started.breakers.describe(started.snapshot)
        return found["chat", "v2", ""][2] if found else CLOSED

    def served_by() -> str:
        answer = envoy.post({"model": "chat", "stream": True, "messages": []})
        return answer.headers["x-model-version"]

    broken = 0
    while state() != EJECTED:
        with suppress(http.client.IncompleteRead):
            assert served_by() == "v1"
            break
        broken += 1
        assert broken < 200
    assert len(bad.seen) == broken  # what a server has begun is never sent again
    assert served_by() == "v1"
    until(lambda: sum(started.metrics._counters["inference_errors"].values()) == broken)  # all accounts have come
    assert state() == EJECTED
    bad.then = stream()
    begun = started.breakers.begin(started.snapshot, {"policy": "chat", "version": "v2"}, Headers(), perf_counter())
    assert begun is not None
    begun[0].end(begun[1], perf_counter())
    begun[0].busy(perf_counter() + 21)  # the ejection is over
    until(lambda: served_by() == "v2" and state() == CLOSED)
    assert len(bad.seen) >= broken + PROBES


def test_of_picked_servers_the_bad_ones_are_left_out_and_come_back(
    servers: Servers, processor: Start, gateway: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of three one begins to break its streams, and another one is ten times as slow."""
    monkeypatch.setattr("extproc.policy.breaker.EJECTION", 20.0)
    breaking, slow, good = servers("breaking", "slow", "good")
    breaking.then = slow.then = good.then = stream(late=0.05)
    version = Version("v1", 1, (breaking.address, slow.address, good.address))
    objective = Slo(first_token=Objective(0.25, 95))  # so that a busy machine is not taken for a slow server
    breaker, picking = CircuitBreaker(1, 100), Picking("round-robin")
    policy = Policy("chat", models=("chat",), versions=(version,), breaker=breaker, picking=picking, slo=objective)
    started: Processor = processor(Snapshot((policy,)))
    envoy: Gateway = gateway(started.snapshot, started.address, message_timeout=20)
    stopping = threading.Event()

    def ask() -> None:
        while not stopping.is_set():
            with suppress(http.client.IncompleteRead):
                envoy.post({"model": "chat", "stream": True, "messages": []})

    def ejected() -> set[str]:
        return set(started.breakers.describe(started.snapshot)["chat", "v1", ""][3])

    def asked() -> list[int]:
        return [len(server.seen) for server in (breaking, slow, good)]

    def all_get_more(requests: int) -> None:
        before = asked()
        until(lambda: all(now >= then + requests for now, then in zip(asked(), before, strict=True)), 60)

    threads = [threading.Thread(target=ask, daemon=True) for _ in range(6)]
    for thread in threads:
        thread.start()
    all_get_more(2 * FIRST_BLOCK)  # it is known what is usual
    assert ejected() == set()
    breaking.then, slow.then = stream(broken=True), stream(late=0.5)
    until(lambda: ejected() == {breaking.address, slow.address}, 60)
    for requests in (20, 100):  # what was decided before comes with the first ones
        before = asked()
        until(lambda before=before, requests=requests: asked()[2] >= before[2] + requests, 60)  # type: ignore[misc]
    assert asked()[:2] == before[:2]
    breaking.then = slow.then = stream(late=0.05)
    endpoints = started.breakers.endpoints(policy, ("chat", "v1", ""), False)
    assert endpoints is not None
    for server in (breaking, slow):
        one = endpoints.of(server.address)
        assert one is not None
        one.busy(perf_counter() + 21)  # the ejection is over
    until(lambda: ejected() == set(), 60)
    all_get_more(20)
    stopping.set()
    for thread in threads:
        thread.join()
    until(lambda: started.breakers.describe(started.snapshot)["chat", "v1", ""][1] == 0)


def test_a_request_counts_at_the_server_that_answers_it(servers: Servers, processor: Start, gateway: Start) -> None:
    """The one that was picked can't be reached, and Envoy goes on to the next one."""
    (living,), dead = servers("living"), "127.0.0.1:1"
    release = threading.Event()

    def answer(request: Handler) -> None:
        request.send_response(200)
        request.send_header("content-type", "text/event-stream")
        request.end_headers()
        request.wfile.flush()
        release.wait(30)
        request.close_connection = True

    living.then = answer
    version = Version("v1", 1, (dead, living.address))
    picking = Picking("least-loaded")
    policy = Policy("chat", models=("chat",), versions=(version,), breaker=CircuitBreaker(), picking=picking)
    started: Processor = processor(Snapshot((policy,)))
    started.board.waiting = {dead: 0, living.address: 1}
    envoy: Gateway = gateway(started.snapshot, started.address, message_timeout=20)
    with asking(envoy, 1, model="chat") as answers:
        until(lambda: in_flight(started).get(("chat", "v1", "")) == 1)
        endpoints = started.breakers.endpoints(policy, ("chat", "v1", ""), False)
        assert endpoints is not None
        found = [endpoints.of(address) for address in (dead, living.address)]
        until(lambda: [one.in_flight for one in found if one is not None] == [0, 1])
        release.set()
    assert answers[0].status == 200
    until(lambda: in_flight(started) == {("chat", "v1", ""): 0})

"""Envoy's account in the mesh: requests count where the mesh's clusters say that they went, and nobody else's count."""

from __future__ import annotations

import http.client
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest

from extproc.policy.snapshot import Policy, Snapshot, Version
from tests.envoy.conftest import Gateway, ModelServer, Processor
from tests.envoy.test_accounts import EVENT, Waiting, break_off, counted, errors, faults, hang_up, requests, waiting
from tests.istio import mesh
from tests.istio.patching import Proxy
from tests.waiting import until

__all__ = ["waiting"]

pytestmark = pytest.mark.envoy

Servers = Callable[..., list[ModelServer]]
Process = Callable[..., Processor]
Run = Callable[[Proxy], Gateway]
PLACES = pytest.mark.parametrize(
    ("at", "proxies"),
    [("SIDECAR_OUTBOUND", ("sidecar",)), ("GATEWAY", ("gateway",)), ("SIDECAR_INBOUND", ("waypoint",))],
    ids=["sidecar", "gateway", "waypoint"],
)


def counters(processor: Processor, by: str) -> float:
    found = processor.metrics._counters["extproc_counted_requests"]
    return sum(count for (counter,), count in found.items() if counter == by)


@PLACES
def test_each_request_counts_once_for_the_version_that_answered(
    at: str, proxies: tuple[str, ...], servers: Servers, processor: Process, run: Run
) -> None:
    v1, v2, other = servers("v1", "v2", "other")
    snapshot = Snapshot((mesh.policy(),))
    process = processor(snapshot)
    pods = [mesh.pod(v1, "v1"), mesh.pod(v2, "v2")]
    envoy = run(mesh.proxy(snapshot, pods, other, process, at=at, proxies=proxies))
    answers = [envoy.ask("llama", host=mesh.CHAT, x_beta="true" if i % 3 == 0 else "no").text for i in range(12)]
    until(lambda: counted(process) == 12)
    assert {version: count for (_, version, _), count in requests(process).items()} == Counter(answers)
    assert (faults(process), counters(process, "access_log"), counters(process, "observer")) == ({}, 12, 0)


@PLACES
def test_other_hosts_have_no_account(
    at: str, proxies: tuple[str, ...], servers: Servers, processor: Process, run: Run
) -> None:
    """A waypoint can't tell them apart; theirs are requests for nothing of ours."""
    v1, other = servers("v1", "other")
    snapshot = Snapshot((mesh.policy(versions=(Version("v1"),)),))
    process = processor(snapshot)
    envoy = run(mesh.proxy(snapshot, [mesh.pod(v1, "v1")], other, process, at=at, proxies=proxies))
    answers = [envoy.ask(model, host=host).text for model, host in (("iris", mesh.OTHER), ("llama", mesh.CHAT))]
    assert answers == ["other", "v1"]
    expected = {("llama", "v1", "200"): 1} | ({("other", "none", "200"): 1} if proxies == ("waypoint",) else {})
    until(lambda: counted(process) >= len(expected))
    name = "access_logs.grpc_access_log.logs_written"
    assert envoy.envoy.stats(name) == {name: len(expected)}
    assert requests(process) == expected


@PLACES
def test_a_wrong_route_counts_as_where_it_leads(
    at: str, proxies: tuple[str, ...], servers: Servers, processor: Process, run: Run
) -> None:
    """The route of v2 leads to v1, as where the policy was applied before its routes."""
    v1, v2, other = servers("v1", "v2", "other")
    snapshot = Snapshot((mesh.policy(),))
    process = processor(snapshot)
    made = mesh.proxy(snapshot, [mesh.pod(v1, "v1"), mesh.pod(v2, "v2")], other, process, at=at, proxies=proxies)
    for route in made.vhosts[0]["routes"]:
        if route["name"].startswith("chat-v2"):
            route["route"]["cluster"] = f"outbound|8080|v1|{mesh.CHAT}"
    envoy = run(made)
    assert [envoy.ask("llama", host=mesh.CHAT, x_beta=beta).text for beta in ("no", "true")] == ["v1", "v1"]
    until(lambda: counted(process) == 2)
    assert requests(process) == {("llama", "v1", "200"): 2}
    assert faults(process) == {"not_as_decided": 1}


def test_a_route_to_no_server_of_ours_counts_for_none(servers: Servers, processor: Process, run: Run) -> None:
    v1, other = servers("v1", "other")
    snapshot = Snapshot((mesh.policy(versions=(Version("v1"),)),))
    process = processor(snapshot)
    made = mesh.proxy(snapshot, [mesh.pod(v1, "v1")], other, process)
    for route in made.vhosts[0]["routes"]:
        route["route"]["cluster"] = f"outbound|8080||{mesh.OTHER}"
    assert run(made).ask("llama", host=mesh.CHAT).text == "other"
    until(lambda: counted(process) == 1)
    assert (requests(process), faults(process)) == ({("llama", "none", "200"): 1}, {"not_as_decided": 1})


ENDINGS = {
    "hangs up before the answer": (hang_up, "503", {"upstream_reset": 1}),
    "breaks off amid the answer": (break_off, "200", {"upstream_broke_off": 1}),
}


@PLACES
@pytest.mark.parametrize("ending", ENDINGS)
def test_a_server_that_dies_has_failed(
    ending: str, at: str, proxies: tuple[str, ...], servers: Servers, processor: Process, run: Run
) -> None:
    v1, other = servers("v1", "other")
    v1.then, code, failures = ENDINGS[ending]
    snapshot = Snapshot((mesh.policy(versions=(Version("v1"),)),))
    process = processor(snapshot)
    envoy = run(mesh.proxy(snapshot, [mesh.pod(v1, "v1")], other, process, at=at, proxies=proxies))
    with suppress(http.client.IncompleteRead):
        envoy.ask("llama", host=mesh.CHAT)
    until(lambda: counted(process) == 1)
    assert (requests(process), errors(process), faults(process)) == ({("llama", "v1", code): 1}, failures, {})


@PLACES
@pytest.mark.parametrize(("when", "code"), [("before", "0"), ("amid", "200")])
def test_a_client_that_leaves_is_no_failure_of_the_servers(
    when: str,
    code: str,
    at: str,
    proxies: tuple[str, ...],
    servers: Servers,
    processor: Process,
    run: Run,
    waiting: Waiting,
) -> None:
    v1, other = servers("v1", "other")
    v1.then = getattr(waiting, when)
    snapshot = Snapshot((mesh.policy(versions=(Version("v1"),)),))
    process = processor(snapshot)
    envoy = run(mesh.proxy(snapshot, [mesh.pod(v1, "v1")], other, process, at=at, proxies=proxies))
    connection = envoy.open()
    headers = {"content-type": "application/json", "host": mesh.CHAT}
    connection.request("POST", "/v1/chat/completions", b'{"model":"llama"}', headers)
    if when == "amid":
        assert connection.getresponse().read(len(EVENT)) == EVENT
    assert waiting.reached.wait(10)
    connection.close()
    until(lambda: counted(process) == 1)
    assert (requests(process), errors(process)) == ({("llama", "v1", code): 1}, {"client_left": 1})


@PLACES
def test_what_authentication_refuses_has_no_account(
    at: str, proxies: tuple[str, ...], servers: Servers, processor: Process, run: Run
) -> None:
    v1, other = servers("v1", "other")
    snapshot = Snapshot((mesh.policy(versions=(Version("v1"),)),))
    process, pods = processor(snapshot), [mesh.pod(v1, "v1")]
    made = mesh.proxy(snapshot, pods, other, process, at=at, proxies=proxies, authentication=mesh.authenticated())
    envoy = run(made)
    found = [envoy.ask("llama", host=mesh.CHAT, authorization=word) for word in ("Bearer x", mesh.token())]
    assert [answer.status for answer in found] == [401, 200]
    until(lambda: counted(process) == 1)
    name = "access_logs.grpc_access_log.logs_written"
    assert (requests(process), envoy.envoy.stats(name)) == ({("llama", "v1", "200"): 1}, {name: 1})


def test_a_policy_without_a_namespace_is_in_that_of_the_rendering(
    servers: Servers, processor: Process, run: Run
) -> None:
    v1, other = servers("v1", "other")
    snapshot = Snapshot((Policy("chat", host="chat", models=("llama",), versions=(Version("v1"),)),))
    process = processor(snapshot)
    envoy = run(mesh.proxy(snapshot, [mesh.pod(v1, "v1")], other, process, namespace="ai"))
    assert envoy.ask("llama", host=mesh.CHAT).text == "v1"
    until(lambda: counted(process) == 1)
    assert (requests(process), faults(process)) == ({("llama", "v1", "200"): 1}, {})


def test_pools_and_endpoints_of_our_own(servers: Servers, processor: Process, run: Run) -> None:
    """Subsets of a ServiceEntry, one of a pool."""
    v1, v2, other = servers("v1", "v2", "other")
    pooled = mesh.pooled()
    places = [mesh.elsewhere(server.address) for server in (v1, v2)]
    versions = (Version("v1", 1, (places[0],)), Version("v2", 0, (places[1],), match=mesh.BETA))
    snapshot = Snapshot((mesh.policy(versions=versions, gpu=pooled.policies[0].gpu),), pooled.pools)
    process = processor(snapshot)
    envoy = run(mesh.proxy(snapshot, [], other, process))
    assert [envoy.ask("llama", host=mesh.CHAT, x_beta=beta).text for beta in ("no", "true")] == ["v1", "v2"]
    until(lambda: counted(process) == 2)
    assert requests(process) == {("llama", "v1", "200"): 1, ("llama", "v2", "200"): 1}
    assert faults(process) == {}


def test_what_no_processor_decided_counts_where_it_went(servers: Servers, processor: Process, run: Run) -> None:
    """The processor is there for the account, and not for the decision."""
    v1, other = servers("v1", "other")
    snapshot = Snapshot((mesh.policy(versions=(Version("v1"),)),))
    process = processor(snapshot)
    made = mesh.proxy(snapshot, [mesh.pod(v1, "v1")], other, process)
    routing: dict[str, Any] = next(f for f in made.manager["http_filters"] if f["name"] == "aimesh.route")
    routing["typed_config"]["grpc_service"]["envoy_grpc"]["cluster_name"] = f"outbound|8080||{mesh.OTHER}"
    assert run(made).ask("llama", host=mesh.CHAT).text == "v1"
    until(lambda: counted(process) == 1)
    assert (requests(process), faults(process)) == ({("other", "v1", "200"): 1}, {})


@PLACES
@pytest.mark.parametrize("sampling", [0.0, 1.0])
def test_answers_that_are_left_out_count_and_are_not_shown(
    sampling: float, at: str, proxies: tuple[str, ...], servers: Servers, processor: Process, run: Run
) -> None:
    v1, other = servers("v1", "other")
    snapshot = Snapshot((mesh.policy(versions=(Version("v1"),), sampling=sampling),))
    process = processor(snapshot)
    envoy = run(mesh.proxy(snapshot, [mesh.pod(v1, "v1")], other, process, at=at, proxies=proxies))
    assert {envoy.ask("llama", host=mesh.CHAT).text for _ in range(5)} == {"v1"}
    until(lambda: counted(process) == 5)
    assert requests(process) == {("llama", "v1", "200"): 5}
    shown = "http.outbound.ext_proc.aimesh_observe.streams_started"
    assert envoy.envoy.stats(shown) == {shown: 5 * sampling}

"""Requests through a real Envoy and the real processor reach the cluster that the policy says."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from extproc.envoy.codec import decode
from extproc.envoy.events import RequestHeaders, ResponseHeaders
from extproc.policy.gpu import Gpu
from extproc.policy.snapshot import GpuPool, HeaderMatch, Policy, Snapshot, Sticky, Version
from tests.waiting import until

from .conftest import Gateway, ModelServer, Processor, say

pytestmark = pytest.mark.envoy

Servers = Callable[..., list[ModelServer]]
Start = Callable[..., Gateway]
Process = Callable[..., Processor]
A100 = Gpu("NVIDIA-A100-SXM4-80GB", "a100", "ampere", "8.0", 81920)
BODIES = pytest.mark.parametrize("body", ["streamed", "buffered", "native"])
SPOOFED = {
    "x-model-name": "llama",
    "x-model-version": "v2",
    "x-gpu-pool": "secret",
    "x-gpu-architecture": "h100",
    "x-gateway-destination-endpoint": "10.9.9.9:1",
}


def two_versions(v1: ModelServer, v2: ModelServer, **extra: Any) -> Policy:
    """Everything goes to v1, but for what a beta tester sends."""
    beta = (HeaderMatch((("x-beta", b"true"),)),)
    versions = (
        Version("v1", 1, (v1.address,)),
        Version("v2", 0, (v2.address,), match=beta, model_rewrite=extra.pop("rewrite", "")),
    )
    return Policy("chat", models=("llama", "ünï ✓"), versions=versions, **extra)


@BODIES
def test_the_version_decides_the_cluster(body: str, servers: Servers, processor: Process, gateway: Start) -> None:
    v1, v2, other = servers("v1", "v2", "other")
    snapshot = Snapshot((two_versions(v1, v2), Policy("rest", host="127.0.0.1", port=other.server_address[1])))
    envoy = gateway(snapshot, processor(snapshot).address, body=body)
    assert envoy.ask("llama").text == "v1"
    assert envoy.ask("llama", x_beta="true").text == "v2"
    assert envoy.ask("ünï ✓", x_beta="true").text == "v2"
    assert envoy.ask("mixtral").text == "other"
    assert v2.seen[0].headers["x-model-name"] == "llama"
    assert v2.seen[0].headers["x-model-version"] == "v2"
    line = envoy.logged(1)
    assert (line["model"], line["version"], line["policy"], line["cohort"]) == ("llama", "v2", "chat", "match")
    assert line["cluster"] == "chat/v2"
    assert line["failed_open"] == 0
    assert line["processor_us"] > 0


@BODIES
def test_a_large_body_arrives_as_it_was_sent(body: str, servers: Servers, processor: Process, gateway: Start) -> None:
    v1, v2 = servers("v1", "v2")
    snapshot = Snapshot((two_versions(v1, v2),))
    envoy = gateway(snapshot, processor(snapshot).address, body=body)
    sent = json.dumps({"prompt": "x" * (5 << 20), "model": "llama"}).encode()
    assert envoy.post(sent, x_beta="true").text == "v2"
    chunks = [sent[i : i + 60000] for i in range(0, len(sent), 60000)]
    assert envoy.post(iter(chunks), x_beta="true").text == "v2"
    assert [s.sha for s in v2.seen] == [hashlib.sha256(sent).hexdigest()] * 2
    assert v2.seen[0].headers["content-length"] == str(len(sent))


@BODIES
@pytest.mark.parametrize("padding", [0, 3 << 20])
def test_a_model_is_rewritten(body: str, padding: int, servers: Servers, processor: Process, gateway: Start) -> None:
    v1, v2 = servers("v1", "v2")
    snapshot = Snapshot((two_versions(v1, v2, rewrite="llama-3-8b-instruct"),))
    envoy = gateway(snapshot, processor(snapshot).address, body=body)
    sent = json.dumps({"prompt": "x" * padding, "model": "llama", "n": 1}).encode()
    wanted = sent.replace(b'"llama"', b'"llama-3-8b-instruct"')
    assert envoy.post(sent, x_beta="true").text == "v2"
    assert envoy.post(iter([sent[:9], sent[9:]]), x_beta="true").text == "v2"
    assert [s.body for s in v2.seen] == [wanted, wanted]
    assert v2.seen[0].headers["content-length"] == str(len(wanted))


@BODIES
def test_a_body_over_the_limit_is_413_by_us(body: str, servers: Servers, processor: Process, gateway: Start) -> None:
    v1, v2 = servers("v1", "v2")
    snapshot = Snapshot((two_versions(v1, v2, body_limit=100_000),))
    envoy = gateway(snapshot, processor(snapshot).address, body=body)
    just_over = envoy.post(b'{"model": "llama", "p": "' + b"x" * 100_000 + b'"}')
    assert just_over.status == 413
    assert just_over.error["type"] == "invalid_request_error"
    assert envoy.logged()["details"].startswith("aimesh_")
    assert not v1.seen


def test_envoys_own_413_reads_like_ours(servers: Servers, processor: Process, gateway: Start) -> None:
    v1, v2 = servers("v1", "v2")
    snapshot = Snapshot((two_versions(v1, v2, body_limit=100_000),))
    envoy = gateway(snapshot, processor(snapshot).address, body="buffered")
    answered = "http.aimesh.ext_proc.aimesh_route.stream_msgs_received"

    def chunks() -> Iterator[bytes]:
        # Envoy gathers the body only once the processor has answered the headers; its limit is never below 1 MiB.
        yield b"{"
        until(lambda: envoy.envoy.stats(answered).get(answered) == 1)
        yield from [b"x" * 60_000] * 20

    far_over = envoy.post(chunks())
    assert (far_over.status, far_over.error["code"]) == (413, "request_too_large")
    assert envoy.logged()["details"] == "request_payload_too_large"


@BODIES
def test_a_client_cannot_choose_by_our_headers(body: str, servers: Servers, processor: Process, gateway: Start) -> None:
    v1, v2 = servers("v1", "v2")
    snapshot = Snapshot((two_versions(v1, v2),))
    envoy = gateway(snapshot, processor(snapshot).address, body=body)
    assert envoy.ask("llama", **SPOOFED).text == "v1"
    got = v1.seen[0].headers
    assert (got["x-model-name"], got["x-model-version"]) == ("llama", "v1")
    assert not {"x-gpu-pool", "x-gpu-architecture", "x-gateway-destination-endpoint"} & got.keys()


def test_not_even_while_the_processor_is_down(servers: Servers, gateway: Start) -> None:
    v1, v2 = servers("v1", "v2")
    envoy = gateway(Snapshot((two_versions(v1, v2),)), "127.0.0.1:1")
    answer = envoy.ask("llama", **SPOOFED)
    assert (answer.status, answer.text) == (200, "v1")
    assert not SPOOFED.keys() & v1.seen[0].headers.keys()
    assert not SPOOFED.keys() & answer.headers.keys()
    assert envoy.logged()["failed_open"] == 1


def test_a_pin_is_honoured_where_the_policy_allows_it(servers: Servers, processor: Process, gateway: Start) -> None:
    v1, v2 = servers("v1", "v2")
    snapshot = Snapshot((two_versions(v1, v2, allow_pin=True),))
    envoy = gateway(snapshot, processor(snapshot).address)
    assert envoy.ask("llama", **SPOOFED).text == "v2"
    assert envoy.ask("llama", x_model_version="v9").text == "v1"


def test_without_the_processor_the_load_stays_split(servers: Servers, gateway: Start) -> None:
    a, b, c = servers("a", "b", "c")
    versions = (Version("a", 1, (a.address,)), Version("b", 3, (b.address,)), Version("c", 0, (c.address,)))
    envoy = gateway(Snapshot((Policy("p", models=("m",), versions=versions),)), "127.0.0.1:1")
    for _ in range(80):
        assert envoy.ask("m").status == 200
    assert len(a.seen) + len(b.seen) == 80
    # 60 of 80 are expected; outside of 40..76 less than once in a million runs
    assert 40 <= len(b.seen) <= 76


def test_an_unknown_version_falls_back_to_the_policys_own(servers: Servers, processor: Process, gateway: Start) -> None:
    """As when the processor has read a newer policy than Envoy."""
    v1, v2, v3 = servers("v1", "v2", "v3")
    known = Snapshot((two_versions(v1, v2), Policy("*", host="127.0.0.1", port=v3.server_address[1])))
    newer = Snapshot((Policy("chat", models=("llama",), versions=(Version("v9", 1, (v3.address,)),)),))
    envoy = gateway(known, processor(newer).address)
    assert envoy.ask("llama").text == "v1"


def test_pools_have_clusters_of_their_own(servers: Servers, processor: Process, gateway: Start) -> None:
    west, east = servers("west", "east")
    pools = (GpuPool("west", A100, (west.address,)), GpuPool("east", A100, (east.address,)))
    versions = (Version("v1", 1, gpu_pools=("west",)), Version("v2", 0, gpu_pools=("east",), match=()))
    snapshot = Snapshot((Policy("p", models=("m",), versions=versions),), pools)
    envoy = gateway(snapshot, processor(snapshot).address)
    answer = envoy.ask("m")
    assert (answer.text, answer.headers["x-gpu-pool"]) == ("west", "west")
    assert envoy.logged()["cluster"] == "p/v1/west"


def test_the_client_is_told_where_it_went_and_how_long_it_took(
    servers: Servers, processor: Process, gateway: Start
) -> None:
    v1, v2 = servers("v1", "v2")
    lies = {"x_model_name": "lie", "x_model_version": "lie", "x_gpu_pool": "lie", "server_timing": "lie;dur=1"}
    v1.then = say(b"ok", 200, **lies)
    snapshot = Snapshot((two_versions(v1, v2),))
    envoy = gateway(snapshot, processor(snapshot).address)
    headers = envoy.ask("llama").headers
    assert (headers["x-model-name"], headers["x-model-version"]) == ("llama", "v1")
    assert "x-gpu-pool" not in headers
    assert headers["server"] == "aimesh"
    assert not [name for name in headers if name.startswith("x-envoy")]
    timing = re.fullmatch(r"route;dur=(\d+), upstream;dur=(\d+), total;dur=(\d+)", headers["server-timing"])
    assert timing
    route, upstream, total = map(int, timing.groups())
    assert route + upstream <= total + 2  # each is cut to whole milliseconds


@pytest.fixture
def alone(servers: Servers, processor: Process, gateway: Start) -> Gateway:
    """A gateway whose only model server nobody has started."""
    snapshot = Snapshot((Policy("p", models=("m",), versions=(Version("v1", 1, ("127.0.0.1:1",)),)),))
    return gateway(snapshot, processor(snapshot).address)


def test_errors_of_envoys_own_are_json(alone: Gateway) -> None:
    answer = alone.ask("m")
    assert answer.status == 503
    assert answer.error == {
        "message": "No model server can take this request now.",
        "type": "server_error",
        "code": "no_model_server",
    }
    assert "-" not in answer.headers.get("server-timing", "")
    assert alone.logged()["attempts"] == 3  # it had two retries


def test_fail_closed_is_503_json(servers: Servers, gateway: Start) -> None:
    v1, v2 = servers("v1", "v2")
    envoy = gateway(Snapshot((two_versions(v1, v2),)), "127.0.0.1:1", fail_open=False)
    answer = envoy.ask("llama")
    assert (answer.status, answer.error["code"]) == (503, "no_processor")
    assert answer.error["message"] == "The gateway cannot route requests now."
    assert envoy.logged()["details"].startswith("ext_proc_error")
    assert not v1.seen


def test_a_picked_endpoint_is_the_one(servers: Servers, gateway: Start) -> None:
    """As the Endpoint Picker Protocol has it; one that is no endpoint of the cluster does not count."""
    one, two = servers("one", "two")
    snapshot = Snapshot((Policy("p", models=("m",), versions=(Version("v1", 1, (one.address, two.address)),)),))

    def let_the_client_pick(document: dict[str, Any]) -> None:
        chain = document["static_resources"]["listeners"][0]["filter_chains"][0]
        del chain["filters"][0]["typed_config"]["early_header_mutation_extensions"]

    envoy = gateway(snapshot, "127.0.0.1:1", alter=let_the_client_pick)
    for server, name in ((one, "one"), (two, "two")):
        assert {envoy.ask("m", x_gateway_destination_endpoint=server.address).text for _ in range(10)} == {name}
    assert envoy.ask("m", x_gateway_destination_endpoint="192.0.2.1:1").text in ("one", "two")


def test_only_headers_that_decide_leave_envoy(
    servers: Servers, gateway: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Credentials stay where they are; what the policy reads comes."""
    (server,) = servers("v1")
    match = HeaderMatch((("x-beta", b"true"),))
    versions = (Version("v1", 1, (server.address,)), Version("v2", 0, (server.address,), match=(match,)))
    snapshot = Snapshot((Policy("p", models=("m",), versions=versions, sticky=Sticky(cookie="session")),))
    shown: list[set[str]] = []

    def spy(data: bytes) -> object:
        event, observing = decode(data)
        if isinstance(event, RequestHeaders | ResponseHeaders):
            shown.append({name for name, _ in event.headers})
        return event, observing

    monkeypatch.setattr("extproc.serve.servicer.decode", spy)
    started = Processor(snapshot)
    try:
        answer = gateway(snapshot, started.address).ask(
            "m", authorization="Bearer secret", x_api_key="secret", x_beta="true", cookie="session=ann"
        )
        assert answer.headers["x-model-version"] == "v2"
        until(lambda: len(shown) == 3)
    finally:
        started.stop()
    request = {":method", ":path", "content-type", "content-length", "x-beta", "cookie"}
    # The observer sees what tells how to read an answer and when it began, and by which id the access log has it.
    observed = [{"content-type", "content-length", "x-request-id"}, {":status", "content-length", "server-timing"}]
    assert sorted(map(sorted, shown)) == sorted(map(sorted, [request, *observed]))

"""Clients that begin to send a body and stop: others are routed, and those pass unrouted or are refused, alone."""

from __future__ import annotations

import http.client
import json
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from extproc.policy.snapshot import Policy, Snapshot, Version
from extproc.telemetry.metrics import Metrics
from tests.waiting import until

from .conftest import Gateway, ModelServer, Processor

pytestmark = pytest.mark.envoy

Servers = Callable[..., list[ModelServer]]
Start = Callable[..., Gateway]
Process = Callable[..., Processor]

MOST, CLIENTS = 20, 60
"""Streams that may be open, and clients that hold half a body each."""
BODY = b'{"model": "m"}'
HEAD = b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n" % len(BODY)


@pytest.fixture
def held() -> Iterator[Callable[[Gateway], list[socket.socket]]]:
    """Opens the clients, one after the other."""
    with ExitStack() as stack:

        def start(gateway: Gateway) -> list[socket.socket]:
            host, _, port = gateway.envoy.listen_address.rpartition(":")
            clients = []
            for _ in range(CLIENTS):
                client = stack.enter_context(socket.create_connection((host, int(port)), timeout=20))
                client.sendall(HEAD + BODY[:5])
                clients.append(client)
            return clients

        yield start


def let_go(metrics: Metrics) -> float:
    return metrics._counters["extproc_errors"].get(("too_many_bodies",), 0)


def answer(client: socket.socket) -> tuple[int, str | None, bytes]:
    response = http.client.HTTPResponse(client, method="POST")
    response.begin()
    return response.status, response.getheader("x-model-version"), response.read()


@pytest.mark.parametrize("body", ["buffered", "streamed"])
def test_others_are_routed(
    body: str,
    servers: Servers,
    processor: Process,
    gateway: Start,
    held: Callable[[Gateway], list[socket.socket]],
) -> None:
    (server,) = servers("v1")
    snapshot = Snapshot((Policy("p", models=("m",), versions=(Version("v1", 1, (server.address,)),)),))
    deciding = processor(snapshot, max_streams=MOST)
    envoy = gateway(snapshot, deciding.address, body=body)
    clients = held(envoy)
    until(lambda: let_go(deciding.metrics) >= CLIENTS - MOST)
    for _ in range(30):
        assert envoy.ask("m").headers["x-model-version"] == "v1"
    for client in clients:
        client.sendall(BODY[5:])
    answers = [answer(client) for client in clients]
    assert [(status, text) for status, _, text in answers] == [(200, b"v1")] * CLIENTS
    versions = [version for _, version, _ in answers]
    assert versions[0] is None, "the one that waited longest was let go"
    assert "v1" in versions, "not more than needed were let go"
    assert {seen.body for seen in server.seen} == {BODY, json.dumps({"model": "m", "messages": []}).encode()}
    until(lambda: deciding.metrics.streams == 0)


def test_closed_each_is_refused_alone(
    servers: Servers, processor: Process, gateway: Start, held: Callable[[Gateway], list[socket.socket]]
) -> None:
    (server,) = servers("v1")
    snapshot = Snapshot((Policy("p", models=("m",), versions=(Version("v1", 1, (server.address,)),)),))
    deciding = processor(snapshot, max_streams=MOST)
    envoy = gateway(snapshot, deciding.address, fail_open=False)
    clients = held(envoy)
    until(lambda: let_go(deciding.metrics) >= CLIENTS - MOST)
    status, _, text = answer(clients[0])
    assert (status, json.loads(text)["error"]["type"]) == (503, "server_error")
    assert envoy.ask("m").headers["x-model-version"] == "v1"


def trickles(document: dict[str, Any]) -> None:
    chain = document["static_resources"]["listeners"][0]["filter_chains"][0]
    chain["filters"][0]["typed_config"]["request_timeout"] = "1s"


def test_a_body_that_trickles_has_an_end(servers: Servers, processor: Process, gateway: Start) -> None:
    """Each byte starts the idle timeouts anew; the time for the whole request goes on."""
    (server,) = servers("v1")
    snapshot = Snapshot((Policy("p", models=("m",), versions=(Version("v1", 1, (server.address,)),)),))
    envoy = gateway(snapshot, processor(snapshot).address, alter=trickles)
    host, _, port = envoy.envoy.listen_address.rpartition(":")
    with socket.create_connection((host, int(port)), timeout=20) as client:
        client.sendall(b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-length: 1000000\r\n\r\n")
        client.settimeout(0.05)
        got = b""

        def ended() -> bool:
            nonlocal got
            client.sendall(b"{")
            try:
                got += client.recv(4096)
            except TimeoutError:
                return False
            return True

        until(ended)
    assert got.startswith(b"HTTP/1.1 408 ")
    assert not server.seen

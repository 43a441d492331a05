"""What Envoy itself answers, before any of us has seen the request: what happened, and what to do."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable
from typing import Any

import pytest

from extproc.policy.snapshot import Policy, Snapshot, Version
from tests.waiting import until

from .conftest import Gateway, ModelServer, Processor

pytestmark = pytest.mark.envoy

Servers = Callable[..., list[ModelServer]]
Start = Callable[..., Gateway]
Process = Callable[..., Processor]

PATH = b"/v1/chat/completions"
HEADERS = b"".join(b"x-h%d: 1\r\n" % n for n in range(120))
REFUSED: dict[str, tuple[bytes, int, str, str]] = {
    "http/1.0": (
        b"POST " + PATH + b" HTTP/1.0\r\nhost: h\r\ncontent-length: 0\r\n\r\n",
        *(426, "http_version_too_low", "proxy_http_version 1.1"),
    ),
    "no version": (b"GET /\r\n\r\n", 426, "http_version_too_low", "send the request by HTTP/1.1 or HTTP/2"),
    "a large header": (
        b"POST " + PATH + b" HTTP/1.1\r\nhost: h\r\nx-jwt: " + b"a" * 70_000 + b"\r\n\r\n",
        *(431, "headers_too_large", "more than 60 KiB"),
    ),
    "a long path": (
        b"GET /" + b"a" * 70_000 + b" HTTP/1.1\r\nhost: h\r\n\r\n",
        431,
        "headers_too_large",
        "shorten them",
    ),
    "many headers": (
        b"POST " + PATH + b" HTTP/1.1\r\nhost: h\r\n" + HEADERS + b"\r\n",
        *(431, "too_many_headers", "more than 100 headers"),
    ),
    "no host": (b"GET / HTTP/1.1\r\n\r\n", 400, "no_host", "no Host header"),
    "another upgrade": (
        b"GET / HTTP/1.1\r\nhost: h\r\nconnection: upgrade\r\nupgrade: foo\r\n\r\n",
        *(403, "upgrade_refused", "WebSocket"),
    ),
    "connect": (b"CONNECT a:1 HTTP/1.1\r\nhost: a:1\r\n\r\n", 404, "not_found", "begins with /"),
    "another coding": (
        b"POST " + PATH + b" HTTP/1.1\r\nhost: h\r\ntransfer-encoding: gzip\r\n\r\n",
        *(501, "transfer_encoding", "chunked"),
    ),
    "nonsense": (b"POST / HTTP/1.1\r\nhost: h\r\ncontent-length: x\r\n\r\n", 400, "bad_request", "not valid HTTP"),
}


def snapshot(server: ModelServer) -> Snapshot:
    return Snapshot((Policy("p", models=("m",), versions=(Version("v1", 1, (server.address,)),)),))


def test_each_error_says_what_happened(servers: Servers, processor: Process, gateway: Start) -> None:
    (server,) = servers("v1")
    envoy = gateway(snapshot(server), processor(snapshot(server)).address)
    host, _, port = envoy.envoy.listen_address.rpartition(":")
    for name, (request, status, code, words) in REFUSED.items():
        with socket.create_connection((host, int(port)), timeout=10) as client:
            client.sendall(request)
            head, _, body = client.recv(65536).partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 %d " % status), name
        error: dict[str, Any] = json.loads(body)["error"]
        assert error["code"] == code, name
        assert words in error["message"], name
        assert error["type"] == ("server_error" if status >= 500 else "invalid_request_error")
    assert not server.seen


def test_requests_within_the_bounds_pass(servers: Servers, processor: Process, gateway: Start) -> None:
    (server,) = servers("v1")
    envoy = gateway(snapshot(server), processor(snapshot(server)).address)
    assert envoy.ask("m", **{f"x-h{n}": "1" for n in range(80)}).text == "v1"
    assert envoy.ask("m", x_jwt="a" * 50_000).text == "v1"


LIMIT = 1 << 20


@pytest.mark.parametrize("chunked", [False, True])
@pytest.mark.parametrize("size", [LIMIT + 1, 2 * LIMIT])
def test_a_client_that_writes_all_before_it_reads_sees_why(
    chunked: bool, size: int, servers: Servers, processor: Process, gateway: Start
) -> None:
    """Up to twice the limit: the rest is read, so that there is no reset for what nobody has read."""
    (server,) = servers("v1")
    version = Version("v1", 1, (server.address,))
    limited = Snapshot((Policy("p", models=("m",), versions=(version,), body_limit=LIMIT),))
    connection = gateway(limited, processor(limited).address).open()
    body = b'{"model": "m", "x": "'.ljust(size, b"a")
    for _ in range(3):  # on the same connection, which is as good as before
        connection.request("POST", "/v1/chat/completions", iter([body]) if chunked else body)
        response = connection.getresponse()
        assert (response.status, json.loads(response.read())["error"]["code"]) == (413, "request_too_large")
    assert not server.seen


def test_without_memory_requests_are_refused_and_the_gateway_lives(
    servers: Servers, processor: Process, gateway: Start
) -> None:
    (server,) = servers("v1")

    def little(document: dict[str, Any]) -> None:
        monitor = document["overload_manager"]["resource_monitors"][0]
        assert monitor["name"] == "envoy.resource_monitors.fixed_heap"
        monitor["typed_config"]["max_heap_size_bytes"] = 1 << 20

    envoy = gateway(snapshot(server), processor(snapshot(server)).address, alter=little)
    active = "overload.envoy.overload_actions.stop_accepting_requests.active"
    until(lambda: envoy.envoy.stats(active)[active] == 1)
    answer = envoy.ask("m")
    assert (answer.status, answer.error["code"]) == (503, "overloaded")
    assert not server.seen

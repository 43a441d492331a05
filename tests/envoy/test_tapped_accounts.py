"""What taps show of answers that were broken off, and of those that nobody read, by the real Envoy's account."""

from __future__ import annotations

import http.client
import json
import os
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import pytest

from extproc.telemetry.tap import TapFilter

from .conftest import Gateway, Handler, ModelServer, Processor, say
from .test_accounts import EVENT, begin, counted, hang_up, one

pytestmark = pytest.mark.envoy

Servers = Callable[..., list[ModelServer]]
Start = Callable[..., Gateway]
Process = Callable[..., Processor]

REQUEST = b'{"model":"m"}'
JSON = {"content-type": "application/json"}


def within_a_chunk(request: Handler) -> None:
    begin(request)
    request.wfile.write(b"%x\r\n%b" % (len(EVENT), EVENT[:9]))
    request.wfile.flush()
    hang_up(request)


def reset_within_a_document(request: Handler) -> None:
    request.send_response(200)
    request.send_header("content-type", "application/json")
    request.send_header("content-length", "1000")
    request.end_headers()
    request.wfile.write(b'{"usage":{"prompt_tokens":5,')
    request.wfile.flush()
    request.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    os.close(request.connection.detach())
    request.close_connection = True


def record(lines: Iterator[bytes]) -> dict[str, Any]:
    """The next one; empty lines are silence."""
    found: dict[str, Any] = json.loads(next(line for line in lines if line.strip()))
    return found


def told(found: dict[str, Any]) -> tuple[Any, ...]:
    return tuple(found[name] for name in ("code", "failed", "error", "observed", "model", "version", "operation"))


CHAT = ("m", "v1", "chat.completions")


@pytest.mark.parametrize("ending", [within_a_chunk, reset_within_a_document])
def test_a_server_that_breaks_off_has_failed(
    ending: Callable[[Handler], None], servers: Servers, processor: Process, gateway: Start
) -> None:
    (server,) = servers("v1")
    server.then = ending
    snapshot = one(server.address)
    running = processor(snapshot)
    front = gateway(snapshot, running.address)
    with running.taps.open(TapFilter()) as lines:
        with suppress(http.client.IncompleteRead, ConnectionError):
            front.ask("m")
        assert told(record(lines)) == ("200", True, "upstream_broke_off", True, *CHAT)


def test_a_server_that_is_not_there_is_named_and_one_that_fails_is_not(
    servers: Servers, processor: Process, gateway: Start
) -> None:
    (server,) = servers("v1")
    server.then = say(b"{}", 500)
    with socket.create_server(("127.0.0.1", 0)) as closed:
        gone = f"127.0.0.1:{closed.getsockname()[1]}"
    for endpoint, code, reason in ((gone, "503", "upstream_unreachable"), (server.address, "500", "")):
        snapshot = one(endpoint)
        running = processor(snapshot)
        front = gateway(snapshot, running.address)
        with running.taps.open(TapFilter()) as lines:
            assert front.ask("m").status == int(code)
            assert told(record(lines)) == (code, True, reason, True, *CHAT)


def test_a_client_that_leaves_is_no_failure(servers: Servers, processor: Process, gateway: Start) -> None:
    (server,) = servers("v1")
    released = threading.Event()

    def wait(request: Handler) -> None:
        begin(request)
        released.wait(20)

    server.then = wait
    snapshot = one(server.address)
    running = processor(snapshot)
    connection = gateway(snapshot, running.address).open()
    with running.taps.open(TapFilter()) as lines:
        connection.request("POST", "/v1/chat/completions", REQUEST, JSON)
        assert connection.getresponse().read(len(EVENT)) == EVENT
        connection.close()
        assert told(record(lines)) == ("200", False, "client_left", True, *CHAT)
    released.set()


def test_without_the_account_it_is_not_known_who_broke_off(
    servers: Servers, processor: Process, gateway: Start
) -> None:
    """It has gone to another processor."""
    (server,) = servers("v1")
    server.then = within_a_chunk
    snapshot = one(server.address)
    running = processor(snapshot)
    other = processor(snapshot)

    def elsewhere(document: dict[str, Any]) -> None:
        resources = document["static_resources"]
        ours, others = (each.address.rpartition(":")[2] for each in (running, other))
        cluster = next(text for text in map(json.dumps, resources["clusters"]) if ours in text)
        resources["clusters"].append(json.loads(cluster.replace(ours, others)) | {"name": "other"})
        (manager,) = resources["listeners"][0]["filter_chains"][0]["filters"]
        for log in manager["typed_config"]["access_log"]:
            if "common_config" in log["typed_config"]:
                log["typed_config"]["common_config"]["grpc_service"]["envoy_grpc"]["cluster_name"] = "other"

    front = gateway(snapshot, running.address, alter=elsewhere)
    with running.taps.open(TapFilter()) as lines:
        with suppress(http.client.IncompleteRead, ConnectionError):
            front.ask("m")
        assert told(record(lines)) == ("200", False, "broken_off", True, *CHAT)
    assert counted(other) == 1


def test_what_nobody_read_is_shown_by_its_account(servers: Servers, processor: Process, gateway: Start) -> None:
    (server,) = servers("v1")
    snapshot = one(server.address, sampling=0.0)
    running = processor(snapshot)
    front = gateway(snapshot, running.address)
    with running.taps.open(TapFilter()) as lines, running.taps.open(TapFilter(code="5xx")) as failed:
        assert front.ask("m").text == "v1"
        whole = record(lines)
        server.then = within_a_chunk
        with suppress(http.client.IncompleteRead):
            front.ask("m")
        broken = record(lines)
        server.then = say(b"{}", 500)
        assert front.ask("m").status == 500
        refused = record(lines)
        assert record(failed) == refused
    assert told(whole) == ("200", False, "", False, *CHAT)
    assert whole["ms"] > 0
    assert (whole["output_tokens"], whole["ttft_ms"]) == (None, None)
    assert told(broken) == ("200", True, "upstream_broke_off", False, *CHAT)
    assert told(refused) == ("500", True, "", False, *CHAT)

"""FULL_DUPLEX_STREAMED requests, as GKE and kgateway send them: decided by the body, which reaches the server whole."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from extproc.policy.snapshot import HeaderMatch, Policy, Snapshot, Version

from .conftest import Gateway, ModelServer, Processor

pytestmark = pytest.mark.envoy


def full_duplex(document: dict[str, Any]) -> None:
    """Makes ``aimesh.route`` what these gateways make of it: fail closed, without send_body_without_waiting."""
    (listener,) = document["static_resources"]["listeners"]
    filters = listener["filter_chains"][0]["filters"][0]["typed_config"]["http_filters"]
    (route,) = (one["typed_config"] for one in filters if one["name"] == "aimesh.route")
    mode = {"request_body_mode": "FULL_DUPLEX_STREAMED", "request_trailer_mode": "SEND"}
    route["processing_mode"] |= mode
    route |= {"failure_mode_allow": False, "send_body_without_waiting_for_header_response": False}


def test_requests_of_every_kind(
    servers: Callable[..., list[ModelServer]], processor: Callable[..., Processor], gateway: Callable[..., Gateway]
) -> None:
    v1, v2 = servers("v1", "v2")
    beta = (HeaderMatch((("x-beta", b"true"),)),)
    versions = (
        Version("v1", 1, (v1.address,)),
        Version("v2", 0, (v2.address,), "llama-3-8b-instruct", match=beta),
    )
    snapshot = Snapshot((Policy("chat", models=("llama",), versions=versions, reject_unreadable=True),))
    envoy = gateway(snapshot, processor(snapshot).address, alter=full_duplex)
    assert envoy.ask("llama").text == "v1"

    large = {"messages": [{"role": "user", "content": "x" * (3 << 20)}], "model": "llama"}
    assert envoy.post(large).text == "v1"
    assert json.loads(v1.seen[-1].body) == large

    def pieces(body: bytes) -> Iterator[bytes]:
        yield from (body[start : start + 100_000] for start in range(0, len(body), 100_000))

    assert envoy.post(pieces(json.dumps(large).encode()), x_beta="true").text == "v2"
    assert json.loads(v2.seen[-1].body) == large | {"model": "llama-3-8b-instruct"}
    assert v2.seen[-1].headers["x-model-version"] == "v2"

    refused = envoy.post(b"{", **{"x-beta": "true"})
    assert (refused.status, refused.error["type"]) == (400, "invalid_request_error")
    assert envoy.post(b"", path="/nobody").text == "v1"
    connection = envoy.open()
    connection.request("GET", "/v1/models")
    assert [one["id"] for one in json.loads(connection.getresponse().read())["data"]] == ["llama"]

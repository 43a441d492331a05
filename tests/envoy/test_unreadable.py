"""Requests whose model can't be read, and those that servers would read differently, through the real Envoy."""

from __future__ import annotations

import json
from collections.abc import Callable

import msgspec
import pytest
from prometheus_client import CollectorRegistry

from extproc.policy.snapshot import Policy, Snapshot, Version

from .conftest import Gateway, ModelServer, Processor

pytestmark = pytest.mark.envoy

Servers = Callable[..., list[ModelServer]]
Start = Callable[..., Gateway]
Process = Callable[..., Processor]
BODIES = pytest.mark.parametrize("body", ["streamed", "buffered", "native"])


def one(server: ModelServer, *, reject: bool, rewrite: str = "") -> Snapshot:
    versions = (Version("v1", 1, (server.address,), model_rewrite=rewrite),)
    return Snapshot((Policy("p", models=("m",), versions=versions, reject_unreadable=reject),))


def count(processor: Processor, name: str, **labels: str) -> float | None:
    registry = CollectorRegistry()
    registry.register(processor.metrics)
    return registry.get_sample_value(name, labels)


@BODIES
def test_rejected_where_the_policy_says_so(servers: Servers, processor: Process, gateway: Start, body: str) -> None:
    (server,) = servers("v1")
    snapshot = one(server, reject=True)
    deciding = processor(snapshot)
    envoy = gateway(snapshot, deciding.address, body=body)
    for sent, code in ((b"hello", "bad_json"), (b"{}", "no_model"), (b'{"model":""}', "bad_model")):
        answer = envoy.post(sent)
        assert answer.status == 400
        assert answer.error == {
            "message": f"no model can be read from the request ({code})",
            "type": "invalid_request_error",
            "code": code,
        }
        assert count(deciding, "inference_rejected_total", code=code) == 1
        assert count(deciding, "inference_unmatched_total", reason=code) is None
    assert server.seen == []
    assert envoy.ask("m").headers["x-model-version"] == "v1"
    connection = envoy.open()
    connection.request("GET", "/v1/files")
    assert connection.getresponse().status == 200


def test_passed_to_the_first_policys_servers_by_default(servers: Servers, processor: Process, gateway: Start) -> None:
    (server,) = servers("v1")
    snapshot = one(server, reject=False)
    deciding = processor(snapshot)
    answer = gateway(snapshot, deciding.address).post(b"hello")
    assert (answer.status, answer.text, "x-model-version" in answer.headers) == (200, "v1", False)
    assert count(deciding, "inference_unmatched_total", reason="bad_json") == 1


@BODIES
def test_a_model_that_nobody_owns_is_refused_where_the_policy_says_so(
    servers: Servers, processor: Process, gateway: Start, body: str
) -> None:
    (server,) = servers("v1")
    (owner,) = one(server, reject=False).policies
    snapshot = Snapshot((msgspec.structs.replace(owner, reject_unowned=True),))
    deciding = processor(snapshot)
    envoy = gateway(snapshot, deciding.address, body=body)
    answer = envoy.ask("other")
    assert (answer.status, answer.error["code"]) == (404, "model_not_found")
    assert count(deciding, "inference_rejected_total", code="model_not_found") == 1
    assert server.seen == []
    assert envoy.ask("m").status == 200


@pytest.mark.parametrize("body", ["streamed", "buffered"])
def test_a_second_model_in_other_letters_goes_no_further(
    servers: Servers, processor: Process, gateway: Start, body: str
) -> None:
    (server,) = servers("v1")
    snapshot = one(server, reject=False)
    deciding = processor(snapshot)
    envoy = gateway(snapshot, deciding.address, body=body)
    for sent, code in (
        (b'{"model":"m","Model":"other"}', "duplicate_model"),
        (b'{"Model":"other"}', "ambiguous_model"),
        (b'{"model":"m\\ud83d"}', "ambiguous_model"),
    ):
        answer = envoy.post(sent)
        assert (answer.status, answer.error["code"]) == (400, code)
    assert count(deciding, "inference_rejected_total", code="ambiguous_model") == 2
    assert server.seen == []


@pytest.mark.parametrize("body", ["streamed", "buffered"])
def test_what_python_reads_beyond_the_standard_is_routed_and_renamed(
    servers: Servers, processor: Process, gateway: Start, body: str
) -> None:
    (server,) = servers("v1")
    snapshot = one(server, reject=True, rewrite="another")
    sent = b'{"messages":["cut \\ud83d"],"temperature":NaN,"model":"m"}'
    answer = gateway(snapshot, processor(snapshot).address, body=body).post(sent)
    assert (answer.status, answer.headers["x-model-version"]) == (200, "v1")
    assert server.seen[0].body == sent.replace(b'"m"', b'"another"')
    assert json.loads(server.seen[0].body)["model"] == "another"

"""Spans of inferences through the real Envoy: whose children they are, and what else they tell."""

from __future__ import annotations

import http.client
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from extproc.policyfile import loader
from tests.envoy.conftest import Gateway, ModelServer
from tests.envoy.test_accounts import break_off
from tests.envoy.test_up import Up
from tests.grpc.served import Served, ServedWorkers
from tests.otlp.receiver import Receiver, receiving, values
from tests.waiting import until

pytestmark = pytest.mark.envoy

POLICY = """\
apiVersion: ai.istio.io/v1alpha1
kind: ModelInferencePolicy
metadata: {{name: chat}}
spec:
  models: ["llama-*", llama]
  versions: [{{name: v1, endpoints: ["{address}"]}}]
"""
TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
CONTEXT = f"00-{TRACE}-{PARENT}-01"


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as started:
        yield started


@pytest.fixture
def model(servers: Callable[..., list[ModelServer]]) -> ModelServer:
    return servers("m")[0]


@pytest.fixture
def policy(model: ModelServer, tmp_path: Path) -> Path:
    path = tmp_path / "policy.yaml"
    path.write_text(POLICY.format(address=model.address))
    return path


@pytest.fixture
def start(
    policy: Path, gateway: Callable[..., Gateway], receiver: Receiver
) -> Iterator[Callable[..., tuple[Gateway, Served]]]:
    """The real `extproc serve --otlp` behind the real Envoy."""
    with ExitStack() as stack:

        def start(*flags: str, **options: Any) -> tuple[Gateway, Served]:
            served = stack.enter_context(Served(policy, "--otlp", receiver.url, *flags)).ready()
            return gateway(loader.load([policy]).snapshot, served.address, **options), served

        yield start


def ours(receiver: Receiver, count: int = 1) -> list[Span]:
    until(lambda: len(receiver.spans()) >= count)
    return receiver.spans()


def test_a_span_is_the_child_of_what_the_client_sent(start: Any, model: ModelServer, receiver: Receiver) -> None:
    envoy, served = start(tracing=True)
    assert envoy.ask("llama-3-8b", traceparent=CONTEXT, tracestate="a=b").status == 200
    (span,) = ours(receiver)
    assert (span.trace_id.hex(), span.parent_span_id.hex()) == (TRACE, PARENT)
    assert (span.name, span.kind) == ("chat llama-3-8b", Span.SPAN_KIND_CLIENT)
    found = values(span.attributes)
    wanted = {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "openai",
        "gen_ai.request.model": "llama-3-8b",
        "http.response.status_code": 200,
        "aimesh.policy": "chat",
        "aimesh.version": "v1",
    }
    assert found.items() >= wanted.items()
    # The model server is told the same context as ever: nobody changes it on the way.
    assert (model.seen[0].headers["traceparent"], model.seen[0].headers["tracestate"]) == (CONTEXT, "a=b")
    assert served.metric('extproc_spans_total{result="exported"}') == 1


def test_a_span_tells_which_server_was_picked(start: Any, policy: Path, model: ModelServer, receiver: Receiver) -> None:
    with policy.open("a") as file:
        file.write("  picking: {by: least-loaded}\n")
    envoy, _ = start(tracing=True, message_timeout=20.0)
    assert envoy.ask("llama-3-8b", traceparent=CONTEXT, x_gateway_destination_endpoint="10.9.9.9:1").status == 200
    (span,) = ours(receiver)
    wanted = {
        "aimesh.picking.by": "least-loaded",
        "aimesh.picking.endpoint": model.address,
        "aimesh.picking.served": model.address,
        "aimesh.picking.outcome": "picked",
    }
    assert values(span.attributes).items() >= wanted.items()


def test_an_unsampled_request_has_no_span_and_one_without_a_context_its_own_trace(
    start: Any, receiver: Receiver
) -> None:
    envoy, _ = start(tracing=True)
    envoy.ask("llama-unsampled", traceparent=f"{CONTEXT[:-2]}00")
    envoy.ask("llama-root")
    envoy.ask("llama-broken", traceparent="00-0-0-01")
    envoy.post({}, "/not/inference", traceparent=CONTEXT)
    assert envoy.post(b'{"model": "llama-a", "model": "llama-b"}').status == 400
    envoy.ask("llama-last", traceparent=CONTEXT)
    spans = {span.name: span for span in ours(receiver, 3)}
    assert spans.keys() == {"chat llama-root", "chat llama-broken", "chat llama-last"}
    assert not spans["chat llama-root"].parent_span_id
    assert not spans["chat llama-broken"].parent_span_id
    assert len({span.trace_id for span in spans.values()}) == 3


def test_a_span_tells_who_broke_the_answer_off(start: Any, model: ModelServer, receiver: Receiver) -> None:
    envoy, _ = start(tracing=True)
    model.then = break_off
    with suppress(http.client.IncompleteRead):
        envoy.ask("llama-3-8b", traceparent=CONTEXT)
    (span,) = ours(receiver)
    assert values(span.attributes)["error.type"] == "upstream_broke_off"
    assert span.status.code == Status.STATUS_CODE_ERROR


def test_where_envoy_traces_ours_is_the_child_of_its_span(start: Any, model: ModelServer, receiver: Receiver) -> None:
    def trace(document: dict[str, Any]) -> None:
        resources = document["static_resources"]
        port = int(receiver.url.rpartition(":")[2])
        resources["clusters"].append(collector(port))
        runtime = document["layered_runtime"]["layers"][0]["static_layer"]
        runtime["tracing.opentelemetry.flush_interval_ms"] = 100
        (chain,) = resources["listeners"][0]["filter_chains"]
        chain["filters"][0]["typed_config"]["tracing"] = {
            "provider": {
                "name": "envoy.tracers.opentelemetry",
                "typed_config": {
                    "@type": "type.googleapis.com/envoy.config.trace.v3.OpenTelemetryConfig",
                    "grpc_service": {"envoy_grpc": {"cluster_name": "collector"}},
                    "service_name": "envoy",
                },
            }
        }

    envoy, _ = start(alter=trace)
    assert envoy.ask("llama-3-8b", traceparent=CONTEXT).status == 200
    assert envoy.post(b'{"model": "llama-a", "model": "llama-b"}', traceparent=CONTEXT).status == 400
    span, refused = sorted(ours(receiver, 2), key=lambda one: one.status.code)
    assert values(refused.attributes)["error.type"] == "400"
    assert (refused.trace_id, refused.start_time_unix_nano) == (span.trace_id, refused.end_time_unix_nano)
    assert span.trace_id.hex() == TRACE

    def line() -> list[Span]:
        """Envoy's spans, from the one above ours up to the one below the client's."""
        by_id = {one.span_id: one for one in receiver.spans("envoy")}
        found = [span]
        while found[-1].parent_span_id in by_id:
            found.append(by_id[found[-1].parent_span_id])
        return found[1:] if found[-1].parent_span_id.hex() == PARENT else []

    until(line)
    call, *_, request = line()
    assert "Process" in call.name
    assert (call.kind, request.kind) == (Span.SPAN_KIND_CLIENT, Span.SPAN_KIND_SERVER)
    assert model.seen[0].headers["traceparent"].split("-")[1] == TRACE


def test_off_there_is_nothing(start: Any, receiver: Receiver) -> None:
    envoy, served = start("--otlp", "", "--drain", "0")
    assert envoy.ask("llama-3-8b", traceparent=CONTEXT).status == 200
    until(lambda: 'code="200"' in served.get("/metrics")[1])
    served.process.terminate()
    assert served.exit_status() == 0
    assert (receiver.traces, receiver.metrics) == ([], [])


def test_what_is_left_is_sent_at_the_end(start: Any, receiver: Receiver) -> None:
    envoy, served = start("--drain", "0", tracing=True)
    assert envoy.ask("llama-3-8b", traceparent=CONTEXT).status == 200
    until(lambda: 'code="200"' in served.get("/metrics")[1])
    served.process.terminate()
    assert served.exit_status() == 0
    assert len(receiver.spans()) == 1
    (point,) = receiver.latest()["gen_ai.server.request.duration"]
    assert point.count == 1
    assert values(point.attributes)["gen_ai.request.model"] == "llama-*"


def test_every_worker_is_an_instance_of_its_own(
    policy: Path, gateway: Callable[..., Gateway], receiver: Receiver, tmp_path: Path
) -> None:
    flags = ("--otlp", receiver.url, "--drain", "0")
    with ServedWorkers(policy, 2, *flags, listen=f"unix://{tmp_path}/p.sock") as team:
        addresses = [address for worker in team.ready().workers() for address in worker["listen"]]
        envoy = gateway(loader.load([policy]).snapshot, *addresses, tracing=True)
        for _ in range(40):
            assert envoy.ask("llama-3-8b", traceparent=CONTEXT).status == 200
        ours(receiver, 40)
        until(lambda: team.metric('extproc_spans_total{result="exported"}') == 40)
    resources = [r.resource for message in receiver.traces for r in message.resource_spans]
    assert len({values(resource.attributes)["service.instance.id"] for resource in resources}) == 2


def test_up_traces_with_one_flag(policy: Path, receiver: Receiver) -> None:
    with TemporaryDirectory(prefix="up-") as scratch:
        up = Up(policy, scratch, "--otlp", receiver.url, "--access-log", "")
        try:
            until(up.ready, 30)
            connection = http.client.HTTPConnection("127.0.0.1", up.port, timeout=10)
            head = {"content-type": "application/json", "traceparent": CONTEXT}
            connection.request("POST", "/v1/chat/completions", '{"model": "llama"}', head)
            assert connection.getresponse().status == 200
            connection.close()
            (span,) = ours(receiver)
            assert (span.trace_id.hex(), span.parent_span_id.hex()) == (TRACE, PARENT)
        finally:
            up.process.terminate()
            up.process.wait(20)
            up.errors.close()


def collector(port: int) -> dict[str, Any]:
    http2: dict[str, Any] = {"explicit_http_config": {"http2_protocol_options": {}}}
    kind = "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
    address = {"socket_address": {"address": "127.0.0.1", "port_value": port}}
    return {
        "name": "collector",
        "type": "STATIC",
        "load_assignment": {
            "cluster_name": "collector",
            "endpoints": [{"lb_endpoints": [{"endpoint": {"address": address}}]}],
        },
        "typed_extension_protocol_options": {
            "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {"@type": kind, **http2}
        },
    }

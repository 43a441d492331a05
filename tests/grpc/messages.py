"""Messages of ext_proc as Envoy sends them, for a policy with one model, and what they count as."""

from __future__ import annotations

from typing import Any

from prometheus_client import CollectorRegistry

from extproc._pb import ext_proc_pb2 as pb
from extproc.policy.snapshot import Policy, Snapshot, Version
from extproc.telemetry.metrics import Metrics

SNAPSHOT = Snapshot((Policy("llama", models=("llama",), versions=(Version("v1"),)),))
STREAMED = pb.ProtocolConfiguration(request_body_mode="STREAMED", send_body_without_waiting_for_header_response=True)
BODY = pb.ProcessingRequest(request_body=pb.HttpBody(body=b'{"model":"llama"}', end_of_stream=True)).SerializeToString()


def head(path: str = "/v1/completions", **more: Any) -> bytes:
    """The first message of a stream: the headers of a request."""
    pairs = {":method": "POST", ":path": path}
    headers = pb.HeaderMap(headers=[pb.HeaderValue(key=k, raw_value=v.encode()) for k, v in pairs.items()])
    message = pb.ProcessingRequest(request_headers=pb.HttpHeaders(headers=headers), **more)
    return message.SerializeToString()


def value(metrics: Metrics, name: str, **labels: str) -> float | None:
    """The value of one series; None where there is none."""
    registry = CollectorRegistry()
    registry.register(metrics)
    return registry.get_sample_value(name, labels)

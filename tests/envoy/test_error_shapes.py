"""Errors in the shape of each API, the processor's and Envoy's own, through the real Envoy."""

from __future__ import annotations

import json
import re
import socket
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from extproc.policy.gpu import Gpu, Requirement
from extproc.policy.snapshot import GpuPool, Policy, Snapshot, Version

from .conftest import Gateway, ModelServer, Processor, Response

pytestmark = pytest.mark.envoy

Servers = Callable[..., list[ModelServer]]
Start = Callable[..., Gateway]
Process = Callable[..., Processor]

CALLS: dict[str, tuple[str, bytes]] = {
    "openai": ("/v1/chat/completions", b'{"model":"MODEL"}'),
    "azure": ("/openai/deployments/MODEL/chat/completions", b"{}"),
    "anthropic": ("/v1/messages", b'{"model":"MODEL"}'),
    "gemini": ("/v1beta/models/MODEL:generateContent", b"{}"),
    "vertex": ("/v1/projects/p/locations/l/publishers/google/models/MODEL:predict", b"{}"),
    "bedrock": ("/model/MODEL/converse", b"{}"),
    "sagemaker": ("/endpoints/MODEL/invocations", b"{}"),
    "cohere": ("/v2/chat", b'{"model":"MODEL"}'),
    "ollama": ("/api/chat", b'{"model":"MODEL"}'),
    "oip": ("/v2/models/MODEL/infer", b"{}"),
    "triton": ("/v2/models/MODEL/generate", b"{}"),
    "kserve": ("/v1/models/MODEL:predict", b"{}"),
    "tensorflow": ("/v1/models/MODEL:classify", b"{}"),
    "torchserve": ("/predictions/MODEL", b"{}"),
    "mcp": ("/mcp", b'{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"MODEL"}}'),
}


def read(api: str, answer: Response) -> tuple[Any, str]:
    """What the API calls the error, and its message."""
    assert answer.headers["content-type"] == "application/json"
    body = json.loads(answer.body)
    match api:
        case "openai" | "azure":
            return body["error"]["code"], body["error"]["message"]
        case "anthropic":
            assert body["type"] == "error"
            return body["error"]["type"], body["error"]["message"]
        case "gemini" | "vertex":
            return body["error"]["status"], body["error"]["message"]
        case "bedrock":
            return answer.headers["x-amzn-errortype"], body["message"]
        case "sagemaker":
            return answer.headers["x-amzn-errortype"], body["Message"]
        case "cohere":
            return "", body["message"]
        case "torchserve":
            return body["type"], body["message"]
        case "mcp":
            return body["error"]["code"], body["error"]["message"]
    return "", body["error"]


OURS = {
    "openai": "no_gpu_available",
    "azure": "no_gpu_available",
    "anthropic": "overloaded_error",
    "gemini": "UNAVAILABLE",
    "vertex": "UNAVAILABLE",
    "bedrock": "ServiceUnavailableException",
    "sagemaker": "ServiceUnavailable",
    "torchserve": "ServiceUnavailableException",
    "mcp": -32603,
}
TIMEOUT = OURS | {
    "openai": "timeout",
    "azure": "timeout",
    "anthropic": "timeout_error",
    "gemini": "DEADLINE_EXCEEDED",
    "vertex": "DEADLINE_EXCEEDED",
    "bedrock": "ModelTimeoutException",
    "sagemaker": "InternalFailure",
    "torchserve": "InternalServerException",
}
NOBODY = OURS | {"openai": "no_model_server", "azure": "no_model_server"}


@pytest.fixture
def snapshot(servers: Servers) -> Iterator[Snapshot]:
    """Models that no GPU serves, whose server hangs, and where nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as silent, socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        hanging, refusing = (f"127.0.0.1:{one.getsockname()[1]}" for one in (silent, closed))
        yield Snapshot(
            (
                Policy("gpu", models=("gpu",), gpu=Requirement(memory=1 << 20)),
                Policy("hang", models=("hang",), versions=(Version("v1", 1, (hanging,)),), timeout=0.2),
                Policy("dead", models=("dead",), versions=(Version("v1", 1, (refusing,)),)),
            ),
            (GpuPool("small", Gpu(architecture="a100", memory=40960), ("127.0.0.1:9",)),),
        )


@pytest.mark.parametrize("body", ["streamed", "buffered", "native"])
def test_every_api_has_its_errors(snapshot: Snapshot, processor: Process, gateway: Start, body: str) -> None:
    envoy = gateway(snapshot, processor(snapshot).address, body=body)
    for api, (path, sent) in CALLS.items():
        for model, status, kinds, words in (
            ("gpu", 503, OURS, "no GPU pool can serve the model 'gpu' at present"),
            ("hang", 504, TIMEOUT, "There was no answer in time."),
            ("dead", 503, NOBODY, "No model server can take this request now."),
        ):
            answer = envoy.post(sent.replace(b"MODEL", model.encode()), path.replace("MODEL", model))
            assert (answer.status, *read(api, answer)) == (status, kinds.get(api, ""), words), (api, model)
            assert re.fullmatch(r"total;dur=\d+", answer.headers["server-timing"])  # of what is not known, nothing


def test_every_api_has_its_errors_without_a_processor(snapshot: Snapshot, gateway: Start) -> None:
    """Told by the path, where that tells it."""
    envoy = gateway(snapshot, "127.0.0.1:9", fail_open=False)
    for api, (path, sent) in CALLS.items():
        answer = envoy.post(sent, path)
        if api not in ("vertex", "kserve", "tensorflow"):  # others with another shape begin their paths alike
            assert read(api, answer)[1] == "The gateway cannot route requests now.", api
        assert answer.status == 503


def test_a_body_that_envoy_itself_refuses(servers: Servers, processor: Process, gateway: Start) -> None:
    (server,) = servers("v1")
    limited = Snapshot((Policy("p", models=("m",), versions=(Version("v1", 1, (server.address,)),), body_limit=1024),))
    envoy = gateway(limited, processor(limited).address)
    for api, kind in (
        ("openai", "request_too_large"),
        ("anthropic", "request_too_large"),
        ("cohere", ""),
        ("ollama", ""),
    ):
        path, sent = CALLS[api]
        answer = envoy.post(iter([sent.replace(b"MODEL", b"m"), *[b" " * 65536] * 64]), path)
        assert (answer.status, *read(api, answer)) == (413, kind, "The request's body is too large."), api
    assert not server.seen


def test_models_are_listed_by_the_processor(servers: Servers, processor: Process, gateway: Start) -> None:
    (server,) = servers("v1")
    named = Snapshot((Policy("p", models=("m", "m-*"), versions=(Version("v1", 1, (server.address,)),)),))
    envoy = gateway(named, processor(named).address)
    connection = envoy.open()
    for path, member, key in (("/v1/models", "data", "id"), ("/api/tags", "models", "name")):
        connection.request("GET", path)
        response = connection.getresponse()
        assert (response.status, response.headers["content-type"]) == (200, "application/json")
        assert [model[key] for model in json.loads(response.read())[member]] == ["m"]
    index = envoy.post(b"{}", "/v2/repository/index")
    assert json.loads(index.body) == [{"name": "m", "version": "", "state": "READY", "reason": ""}]
    assert server.seen == []

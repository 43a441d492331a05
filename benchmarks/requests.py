"""The requests and policies that the benchmarks use: what Envoy sends, as bytes, and what decides."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TypeAlias

from extproc._pb import ext_proc_pb2 as pb
from extproc.policy.gpu import Requirement, describe
from extproc.policy.snapshot import GpuPool, Policy, Snapshot, Sticky, Version

MODEL = "llama-3-8b"
CHAT = "/v1/chat/completions"
INFER = f"/v2/models/{MODEL}/versions/1/infer"
PIECE = 16 << 10
"""Bytes in one piece of a streamed body: a frame of HTTP/2."""

Request: TypeAlias = list[bytes]
"""The messages that Envoy sends for one request, in order."""

_PADDING = "A mesh sees requests; a model server sees prompts. "


def chat_body(size: int, model: str = MODEL) -> bytes:
    """An OpenAI chat request of ``size`` bytes; as OpenAI's own client writes it, `model` comes late."""

    def body(prompt: str) -> bytes:
        messages = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": prompt}]
        return json.dumps({"messages": messages, "model": model, "stream": True, "temperature": 0.2}).encode()

    missing = size - len(body(""))
    return body((_PADDING * (missing // len(_PADDING) + 1))[:missing])


def head(path: str, *, length: int, mode: int = pb.ProcessingMode.STREAMED, user: int = 0) -> bytes:
    """The first message for a request: 20 headers, as a client behind an ingress gateway has them."""
    headers = {
        ":authority": "model-inference.ai.svc.cluster.local",
        ":method": "POST",
        ":path": path,
        ":scheme": "http",
        "accept": "application/json",
        "accept-encoding": "gzip, deflate",
        "authorization": "Bearer sk-0123456789abcdef0123456789abcdef0123456789abcdef",
        "content-length": str(length),
        "content-type": "application/json",
        "traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        "user-agent": "OpenAI/Python 1.99.1",
        "x-b3-sampled": "1",
        "x-envoy-attempt-count": "1",
        "x-envoy-internal": "true",
        "x-forwarded-for": "10.0.12.7",
        "x-forwarded-proto": "http",
        "x-request-id": f"5c6a7f0e-5f7b-4c0e-9a55-{user:012x}",
        "x-stainless-lang": "python",
        "x-stainless-runtime": "CPython",
        "x-user-id": f"user-{user}",
    }
    return headers_message(headers, mode)


def headers_message(headers: Mapping[str, str], mode: int = pb.ProcessingMode.STREAMED) -> bytes:
    """The first message for a request with these headers."""
    message = pb.ProcessingRequest()
    for name, value in headers.items():
        message.request_headers.headers.headers.add(key=name, raw_value=value.encode())
    message.protocol_config.request_body_mode = mode  # type: ignore[assignment]
    message.protocol_config.send_body_without_waiting_for_header_response = mode == pb.ProcessingMode.STREAMED
    return message.SerializeToString()


def pieces(body: bytes, size: int) -> list[bytes]:
    """The messages for a request's body, sent in pieces of at most ``size`` bytes."""
    starts = range(0, len(body), size)
    return [
        pb.ProcessingRequest(
            request_body=pb.HttpBody(body=body[at : at + size], end_of_stream=at == starts[-1])
        ).SerializeToString()
        for at in starts
    ]


def chat(
    size: int,
    *,
    piece: int | None = None,
    mode: int = pb.ProcessingMode.STREAMED,
    user: int = 0,
    model: str = MODEL,
) -> Request:
    """A chat request; its body comes in one message where ``piece`` does not say otherwise."""
    body = chat_body(size, model)
    return [head(CHAT, length=len(body), mode=mode, user=user), *pieces(body, piece or len(body))]


def infer(*, user: int = 0) -> Request:
    """An Open Inference Protocol request: the path tells the model, the body is never asked for."""
    return [head(INFER, length=4096, user=user)]


def example_snapshot(policies: int = 1, pattern: str = "{}") -> Snapshot:
    """So many policies, each a sticky canary of two versions on two GPU pools; the last one owns MODEL."""
    names = [*(f"model-{number}" for number in range(policies - 1)), MODEL]
    return Snapshot(
        tuple(
            Policy(
                name=name,
                host=f"{name}.ai.svc.cluster.local",
                models=(pattern.format(name),),
                versions=(Version("v1", 90), Version("v2", 10)),
                sticky=Sticky(header="x-user-id"),
                gpu=Requirement("a100", 8192),
            )
            for name in names
        ),
        tuple(
            GpuPool(name, describe("NVIDIA-A100-SXM4-80GB"), (f"10.0.{number}.1:8000",))
            for number, name in enumerate(("a100-west", "a100-east"))
        ),
    )

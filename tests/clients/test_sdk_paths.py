"""Every path by which the official SDKs call a model, and those of their paths that are none.

Taken from the sources of PyPI's SDKs: openai 3.57, anthropic 2.14, google-genai 3.6, cohere 7.3, ollama 0.6, mistralai
3.7, botocore 1.44 (bedrock-runtime, sagemaker-runtime), huggingface-hub 2.4, tritonclient 2.73, mcp 2.3; OpenVINO Model
Server's and vLLM's documentation. What npm's SDKs have beside these was found by ``npm_paths``.
"""

from __future__ import annotations

import pytest

from extproc import apis
from extproc.headers import Headers

OPENAI = (
    *("chat/completions", "completions", "embeddings", "responses", "responses/compact", "responses/input_tokens"),
    *("moderations", "decisions", "images/generations", "images/edits", "images/variations"),
    *("audio/speech", "audio/transcriptions", "audio/translations"),
)
CALLS: dict[str, tuple[str, ...]] = {
    "openai": (
        *(f"POST {prefix}/{path}" for prefix in ("/v1", "") for path in OPENAI),
        *("POST /v1/responses?beta=true", "POST /v1/responses/compact?beta=true", "POST /v1/batches"),
        *("POST /v1/conversations", "POST /v1/conversations/c/items", "GET /v1/realtime?model=m"),
        *("POST /v1/realtime/calls?model=m", "POST /v1/realtime/sessions", "POST /v1/realtime/calls/c/accept"),
        *("GET /v1/responses/r", "DELETE /v1/responses/r", "POST /v1/responses/r/cancel", "GET /v1/chat/completions/c"),
        *("GET /v1/batches/b", "GET /v1/conversations/c", "POST /v1/files"),
        *(f"POST /v3/{path}" for path in ("chat/completions", "completions", "embeddings", "responses")),
        *(
            f"POST /v3/{path}"
            for path in ("images/generations", "images/edits", "audio/speech", "audio/transcriptions")
        ),
    ),
    "azure": (
        *(
            f"POST /openai/deployments/m/{path}?api-version=v"
            for path in ("chat/completions", "completions", "embeddings", "images/generations", "audio/speech")
        ),
        *("POST /models/chat/completions", "POST /openai/v1/chat/completions", "POST /openai/v1/responses"),
    ),
    "anthropic": (
        *("POST /v1/messages", "POST /v1/messages?beta=true", "POST /v1/messages/count_tokens"),
        *("POST /v1/messages/count_tokens?beta=true", "POST /v1/messages/batches", "POST /v1/complete"),
        "GET /v1/messages/batches/b",
    ),
    "gemini": (
        *(
            f"POST /v1beta/models/m:{method}"
            for method in ("batchEmbedContents", "batchGenerateContent", "asyncBatchEmbedContent", "countTokens")
        ),
        *(f"POST /v1beta/models/m:{method}" for method in ("embedContent", "generateContent", "predict")),
        *("POST /v1beta/models/m:predictLongRunning", "POST /v1beta/models/m:streamGenerateContent?alt=sse"),
        *("POST /v1beta/tunedModels/m:generateContent", "POST /v1beta/interactions", "POST /v1alpha/interactions"),
        *("GET /v1beta/interactions/i", "DELETE /v1beta/interactions/i", "POST /v1beta/interactions/i/cancel"),
    ),
    "vertex": tuple(
        f"POST /v1beta1/projects/p/locations/l/publishers/google/models/m:{method}"
        for method in ("generateContent", "countTokens", "computeTokens", "embedContent", "predict", "rawPredict")
    ),
    "cohere": (
        *("POST /v2/chat", "POST /v2/embed", "POST /v2/rerank", "POST /v2/audio/transcriptions", "POST /v1/chat"),
        *("POST /v1/classify", "POST /v1/detokenize", "POST /v1/embed", "POST /v1/generate", "POST /v1/tokenize"),
    ),
    "ollama": (
        *(f"POST /api/{name}" for name in ("chat", "generate", "embed", "embeddings", "show")),
        "POST /v1/systemone",
    ),
    "mistral": (
        *("POST /v1/fim/completions", "POST /v1/ocr", "POST /v1/chat/moderations", "POST /v1/classifications"),
        *("POST /v1/chat/classifications", "POST /v1/conversations/c/restart"),
        *("GET /v1/conversations/c/history", "GET /v1/conversations/c/messages"),
    ),
    "bedrock": (
        *(f"POST /model/m/{action}" for action in ("converse", "converse-stream", "count-tokens", "invoke")),
        *("POST /model/m/invoke-with-bidirectional-stream", "POST /model/m/invoke-with-response-stream"),
        *("POST /async-invoke", "GET /async-invoke/a"),
    ),
    "sagemaker": tuple(
        f"POST /endpoints/m/{action}" for action in ("invocations", "async-invocations", "invocations-response-stream")
    ),
    "generate": ("POST /", "POST /generate", "POST /generate_stream"),
    "oip": ("POST /v2/models/m/infer", "POST /v2/models/m/versions/1/infer"),
    "triton": ("POST /v2/models/m/generate", "POST /v2/models/m/generate_stream"),
    "vllm": ("POST /inference/v1/generate", "POST /v1/rerank", "POST /rerank", "POST /tokenize", "POST /score"),
    "mcp": ("POST /mcp", "GET /mcp", "DELETE /mcp"),
}

UNREAD: dict[str, tuple[str, ...]] = {
    "what is kept is asked for, by an id that the server gave": ("GET /v1/videos/v", "GET /v1beta/batches/b"),
    "files, tuning and administration": (
        *("POST /v1/fine_tuning/jobs", "POST /v1/vector_stores", "GET /v1/embed-jobs"),
        *(
            "POST /api/pull",
            "POST /api/push",
            "POST /api/create",
            "DELETE /api/delete",
            "POST /api/copy",
            "GET /api/ps",
        ),
        *(
            "POST /v2/repository/models/m/load",
            "GET /v2/models/m/config",
            "GET /v2/health/ready",
            "GET /v2/models/m/ready",
        ),
    ),
    "an agent or a session is named, whose model the server knows": (
        *(
            "POST /v1/agents/completions",
            "POST /v1/agents",
            "POST /v1/realtime/client_secrets",
            "POST /v1/live/sessions",
        ),
    ),
    "forms or JSON, as the client likes": ("POST /v1/videos", "POST /v1/videos/edits"),
    "given up by its maker": ("POST /v1/summarize",),
    "no model is asked": ("POST /guardrail/g/version/1/apply", "POST /guardrail-checks/invoke", "POST /v2/parse"),
}
"""By the reason."""


@pytest.mark.parametrize(("api", "line"), [(api, line) for api, lines in CALLS.items() for line in lines])
def test_is_read(api: str, line: str) -> None:
    method, _, target = line.partition(" ")
    found = apis.classify(method, target, Headers())
    assert found is not None
    assert found.api == api


@pytest.mark.parametrize("line", [line for lines in UNREAD.values() for line in lines])
def test_is_not_read(line: str) -> None:
    method, _, target = line.partition(" ")
    assert apis.classify(method, target, Headers()) is None

"""What vLLM serves beside OpenAI's API, after its documentation."""

from __future__ import annotations

from typing import Any

import pytest

from extproc.bodies.request import InferenceRequest
from tests.unit.apis.requests import interpret, json_size

DOCUMENTS = ["Paris is a city.", "A mesh is a net."]
RERANK = {"model": "bge-reranker", "query": "What is a mesh?", "documents": DOCUMENTS, "top_n": 1}
RANKED = json_size("What is a mesh?", DOCUMENTS)


@pytest.mark.parametrize(
    ("line", "body", "expected"),
    [
        ("POST /rerank", RERANK, InferenceRequest("vllm", "rerank", "bge-reranker", prompt_bytes=RANKED)),
        ("POST /v1/rerank", RERANK, InferenceRequest("vllm", "rerank", "bge-reranker", prompt_bytes=RANKED)),
        (
            "POST /score",
            {"model": "bge", "text_1": "a", "text_2": ["b", "c"]},
            InferenceRequest("vllm", "score", "bge", prompt_bytes=json_size("a", ["b", "c"])),
        ),
        (
            "POST /v1/score",
            {"model": "bge", "queries": "a", "documents": "b"},
            InferenceRequest("vllm", "score", "bge", prompt_bytes=json_size("a", "b")),
        ),
        (
            "POST /pooling",
            {"model": "reward", "messages": [{"role": "user", "content": "x"}], "task": "token_embed"},
            InferenceRequest("vllm", "pooling", "reward", prompt_bytes=json_size([{"role": "user", "content": "x"}])),
        ),
        (
            "POST /classify",
            {"model": "toxic", "input": ["You!"]},
            InferenceRequest("vllm", "classify", "toxic", prompt_bytes=json_size(["You!"])),
        ),
        (
            "POST /tokenize",
            {"model": "sql-lora", "prompt": "How many?", "add_special_tokens": False},
            InferenceRequest("vllm", "tokenize", "sql-lora", prompt_bytes=json_size("How many?")),
        ),
        (
            "POST /v1/chat/completions/render",
            {"model": "llama", "messages": ["hi"], "max_tokens": 9, "stream": True},
            InferenceRequest("vllm", "chat.completions.render", "llama", max_tokens=9, prompt_bytes=json_size(["hi"])),
        ),
        (
            "POST /v1/completions/render",
            {"model": "llama", "prompt": "hi"},
            InferenceRequest("vllm", "completions.render", "llama", prompt_bytes=json_size("hi")),
        ),
        (
            "POST /inference/v1/generate",
            {"model": "llama", "token_ids": [1, 2], "sampling_params": {"max_tokens": 64}, "stream": True},
            InferenceRequest("vllm", "inference.generate", "llama", None, True, None, 64, json_size([1, 2])),
        ),
        (
            "POST /detokenize",
            {"model": "llama", "tokens": [1, 2, 3]},
            InferenceRequest("vllm", "detokenize", "llama", prompt_bytes=json_size([1, 2, 3])),
        ),
    ],
)
def test_asks_for(line: str, body: Any, expected: InferenceRequest) -> None:
    assert interpret(line, body) == expected


@pytest.mark.parametrize(
    ("line", "body", "reason"),
    [
        ("POST /tokenize", {"prompt": "How many?"}, "no_model"),
        ("POST /inference/v1/generate", {"token_ids": [1]}, "no_model"),
        ("GET /v1/completions/render", b"", "no_api"),
        ("POST /classify", {"model": None, "input": "x"}, "bad_model"),
        ("GET /score", b"", "no_api"),
        ("POST /v1/load_lora_adapter", {"lora_name": "a", "lora_path": "/a"}, "no_api"),
        ("POST /v1/unload_lora_adapter", {"lora_name": "a"}, "no_api"),
        ("POST /reset_prefix_cache", b"", "no_api"),
    ],
)
def test_does_not_ask_for(line: str, body: Any, reason: str) -> None:
    assert interpret(line, body) == reason

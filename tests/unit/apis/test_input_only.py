"""Answers without output: the count of the input, wherever a server writes it."""

from __future__ import annotations

from typing import Any

import pytest

from tests.unit.answers.answered import document


@pytest.mark.parametrize(
    ("api", "operation", "body", "tokens"),
    [
        ("vllm", "rerank", {"usage": {"total_tokens": 62}}, 62),
        ("vllm", "rerank", {"usage": {"total_tokens": 62, "prompt_tokens": 61}}, 61),
        ("vllm", "rerank", {"meta": {"tokens": {"input_tokens": 41, "output_tokens": 0}}}, 41),
        ("vllm", "rerank", {"meta": {"billed_units": {"input_tokens": 41}}}, 41),
        ("vllm", "rerank", [{"score": n, "meta_info": {"prompt_tokens": n}} for n in (5, 6, 7)], 18),
        ("vllm", "classify", [{"embedding": [0.5], "meta_info": {"prompt_tokens": 5}}], 5),
        ("openai", "embeddings", {"data": [], "usage": {"total_tokens": 62}}, 62),
        ("openai", "embeddings", {"data": [], "usage": {"input_tokens": 62}}, 62),
        ("azure", "embeddings", {"data": [], "usage": {"prompt_tokens": 0, "total_tokens": 62}}, 62),
        ("cohere", "rerank", {"results": [], "usage": {"total_tokens": 62}}, 62),
        ("cohere", "embed", {"meta": {"billed_units": {"input_tokens": 62.0}}}, 62),
        ("vertex", "embedContent", {"embedding": {}, "usageMetadata": {"promptTokenCount": 62}}, 62),
        (
            *("vertex", "predict"),
            {"predictions": [{"embeddings": {"statistics": {"token_count": n}}} for n in (4.0, 5, 6)]},
            15,
        ),
    ],
)
def test_input_of_what_has_no_output(api: str, operation: str, body: Any, tokens: int) -> None:
    assert document(api, operation, body).counts()[0] == tokens


def test_where_input_is_all_the_total_counts_last() -> None:
    usage = {"usage": {"prompt_tokens": 3, "input_tokens": 4, "total_tokens": 5}}
    assert document("openai", "embeddings", usage).counts() == (3, None, None)
    del usage["usage"]["prompt_tokens"]
    assert document("openai", "embeddings", usage).counts() == (4, None, None)


def test_cached_input_counts() -> None:
    usage = {"usage": {"prompt_tokens": 3, "prompt_tokens_details": {"cached_tokens": 2}}}
    assert document("vllm", "score", usage).counts() == (3, None, 2)

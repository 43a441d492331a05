"""Answers without output: embeddings, ranks, scores.

Servers of one such API often count tokens in the way of another, so all families read the same places. Sources: the API
references of OpenAI, Jina, Voyage and Cohere ("Embed", "Rerank"); vLLM's and SGLang's documentation.
"""

from __future__ import annotations

from extproc.apis.answer_shape import AnswerShape, Usage

OPENAI_USAGE = (
    Usage(("/usage",), ("prompt_tokens",), (), ("prompt_tokens_details/cached_tokens",)),
    Usage(("/usage",), ("input_tokens",)),
    Usage(("/usage",), ("total_tokens",)),  # Jina, Voyage, vLLM's scores: without output the total is the input
)
COHERE_USAGE = (
    Usage(
        ("/usage", "/delta/usage", "/meta", "/response/meta"),
        ("tokens/input_tokens",),
        ("tokens/output_tokens",),
        ("cached_tokens",),
    ),
    Usage(
        ("/usage", "/delta/usage", "/meta", "/response/meta"),
        ("billed_units/input_tokens",),
        ("billed_units/output_tokens",),
    ),
)
_SGLANG_USAGE = Usage(("/meta_info",), ("prompt_tokens",))  # in each element of an array of documents

INPUT_ONLY = AnswerShape(usage=(*OPENAI_USAGE, _SGLANG_USAGE, *COHERE_USAGE))

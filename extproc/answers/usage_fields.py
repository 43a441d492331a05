"""Where answers tell their tokens, by the servers that do.

Of each count the first ``Usage`` of a tuple counts that tells more than nothing.
"""

from __future__ import annotations

from extproc.answers.shape import Usage

OPENAI = Usage(("/usage",), ("prompt_tokens",), ("completion_tokens",), ("prompt_tokens_details/cached_tokens",))
NEWER = Usage(
    ("/usage", "/response/usage"), ("input_tokens",), ("output_tokens",), ("input_tokens_details/cached_tokens",)
)
CHAT = (
    OPENAI,
    Usage(("/usage",), ("input_tokens",), ("output_tokens",), late=True),  # some have one of the older names, or none
    Usage(("/usage",), cached=("prompt_cache_hit_tokens",), late=True),  # DeepSeek's
    Usage(("/usage",), cached=("cached_tokens",), late=True),  # Moonshot's
    Usage(("/x_groq/usage",), ("prompt_tokens",), ("completion_tokens",), late=True),
    # Moonshot's: of each choice, in its last event.
    Usage(("/choices/*/usage",), ("prompt_tokens",), ("completion_tokens",), ("cached_tokens",), shared=True),
)

_CACHED = "cache_read_input_tokens"
ANTHROPIC = (
    Usage(("/usage", "/message/usage"), ("input_tokens", _CACHED, "cache_creation_input_tokens"), (), (_CACHED,)),
    Usage(("/usage",), (), ("output_tokens",)),  # message_start's is no more than a beginning
)

COHERE = (
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
INPUT = (
    Usage(("/usage",), ("prompt_tokens",), (), ("prompt_tokens_details/cached_tokens",)),
    Usage(("/usage",), ("input_tokens",)),
    Usage(("/usage",), ("total_tokens",)),  # Jina's, Voyage's, vLLM's for scores: what has no output has no more
    Usage(("/meta_info",), ("prompt_tokens",)),  # SGLang's, of each document in an array
    *COHERE,  # of servers that took after its rerank
)

CONVERSE = Usage(
    ("/usage", "/metadata/usage"),
    ("inputTokens", "cacheReadInputTokens", "cacheWriteInputTokens"),
    ("outputTokens",),
    ("cacheReadInputTokens",),
)

GENERATE = (
    Usage(("/details",), ("input_length",), ("generated_tokens",)),
    Usage(("/meta_info",), ("prompt_tokens",), ("completion_tokens",), ("cached_tokens",), part="/index"),
)

OLLAMA = Usage(("",), ("prompt_eval_count",), ("eval_count",))

GEMINI = (
    Usage(
        ("/usageMetadata",),
        ("promptTokenCount", "toolUsePromptTokenCount"),
        ("candidatesTokenCount", "thoughtsTokenCount"),
        ("cachedContentTokenCount",),
    ),
)

REALTIME = (
    Usage(("/response/usage", "/usage"), ("input_tokens",), ("output_tokens",), ("input_token_details/cached_tokens",)),
    Usage(("/response/usage", "/usage"), cached=("input_tokens_details/cached_tokens",)),
    OPENAI,
)

METRICS = "amazon-bedrock-invocationMetrics"
ANY = (
    Usage(
        (f"/{METRICS}",),
        ("inputTokenCount", "cacheReadInputTokenCount", "cacheWriteInputTokenCount"),
        ("outputTokenCount",),
        ("cacheReadInputTokenCount",),
    ),
    *(OPENAI, *ANTHROPIC, *GEMINI, CONVERSE, *GENERATE),
    *(*CHAT[2:], *COHERE),
    Usage(("/predictions/*/embeddings/statistics",), ("token_count",)),  # Vertex AI's embeddings
)
"""Where any model may stand behind one path."""

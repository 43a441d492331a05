"""Answers of paths behind which any model may stand: they have the shape of the model's own API.

Only the answer says which, so the places of all APIs are read, and those of models on Amazon Bedrock that have no API
of their own. Source: the Amazon Bedrock user guide, "Inference request parameters and response fields".
"""

from __future__ import annotations

from extproc.apis import anthropic, gemini, generate, openai, triton
from extproc.apis.answer_shape import AnswerShape, Usage
from extproc.apis.input_only import COHERE_USAGE

AMAZON_USAGE = Usage(
    ("/usage", "/metadata/usage"),
    ("inputTokens", "cacheReadInputTokens", "cacheWriteInputTokens"),
    ("outputTokens",),
    ("cacheReadInputTokens",),
)
"""Of Amazon's own models, and of Bedrock's Converse API."""

_METRICS = "amazon-bedrock-invocationMetrics"
_USAGE = (
    Usage(
        (f"/{_METRICS}",),
        ("inputTokenCount", "cacheReadInputTokenCount", "cacheWriteInputTokenCount"),
        ("outputTokenCount",),
        ("cacheReadInputTokenCount",),
    ),
    *(openai.USAGE, *anthropic.USAGE, gemini.USAGE, AMAZON_USAGE, *generate.USAGE),
    *(*openai.CHAT_USAGE[2:], *COHERE_USAGE),
    Usage(("/predictions/*/embeddings/statistics",), ("token_count",)),  # Vertex AI's embeddings
)

ANY_MODEL = AnswerShape(
    output=(
        *(*openai.CHAT_ANSWER.output, *openai.COMPLETION_ANSWER.output, *anthropic.MESSAGE_ANSWER.output),
        *(*gemini.CONTENT_ANSWER.output, *generate.ANSWER.output, *triton.ANSWER.output),
        *("/delta", "/completion", "/generation", "/outputText", "/outputs/*/text", "/contentBlockDelta/delta"),
        "/contentBlockStart/start/toolUse",
    ),
    end_kinds=("message_stop", "response.completed"),
    ends=(f"/{_METRICS}", "/generated_text"),
    finishes=(
        *(*openai.CHAT_ANSWER.finishes, *anthropic.MESSAGE_ANSWER.finishes),
        *generate.ANSWER.finishes,
    ),
    failures=(*openai.CHAT_ANSWER.failures, *generate.ABORTED),
    has_end_mark=False,
    usage=_USAGE,
)

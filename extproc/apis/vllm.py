"""What vLLM serves beside OpenAI's API: pooling, scores, tokens, and its halves of a completion.

SGLang, Infinity and Jina's servers have some of the same paths. A LoRA adapter is asked for by its name in place of
the model's. Source: vLLM's documentation, "Online Serving"; of ``/inference/v1/generate`` its module
entrypoints/serve/disagg/protocol.py.
"""

from __future__ import annotations

from extproc.apis import openai
from extproc.apis.input_only import INPUT_ONLY
from extproc.apis.openai import COMPLETION_ANSWER, LIMITS
from extproc.apis.row import Row
from extproc.bodies.json_reader import JsonReader

_RERANK = JsonReader(stream="", prompt=["/query", "/documents"])
_SCORE = JsonReader(
    stream="", prompt=["/queries", "/documents", "/text_1", "/text_2", "/data_1", "/data_2", "/query", "/items"]
)
_POOLING = JsonReader(stream="", prompt=["/input", "/messages", "/data"])
_RENDER_CHAT = JsonReader(stream="", prompt=["/messages"], limit=LIMITS)
_RENDER = JsonReader(stream="", prompt=["/prompt"], limit=LIMITS)
_GENERATE = JsonReader(prompt=["/token_ids"], limit=["/sampling_params/max_tokens"])
_TOKENIZE = JsonReader(stream="", prompt=["/prompt", "/messages"])
_DETOKENIZE = JsonReader(stream="", prompt=["/tokens"])

ROWS = (
    Row(path="/rerank", api="vllm", operation="rerank", reader=_RERANK),
    Row(
        path="/v1/rerank",
        api="vllm",
        operation="rerank",
        reader=_RERANK,
        note="Cohere's first rerank, too: it has moved to v2, while servers of one's own have this one",
    ),
    Row(path="/score", api="vllm", operation="score", reader=_SCORE),
    Row(path="/v1/score", api="vllm", operation="score", reader=_SCORE),
    Row(path="/pooling", api="vllm", operation="pooling", reader=_POOLING),
    Row(path="/classify", api="vllm", operation="classify", reader=_POOLING),
    Row(path="/tokenize", api="vllm", operation="tokenize", reader=_TOKENIZE),
    Row(path="/detokenize", api="vllm", operation="detokenize", reader=_DETOKENIZE),
    Row(path="/v1/chat/completions/render", api="vllm", operation="chat.completions.render", reader=_RENDER_CHAT),
    Row(path="/v1/completions/render", api="vllm", operation="completions.render", reader=_RENDER),
    Row(
        path="/inference/v1/generate",
        api="vllm",
        operation="inference.generate",
        reader=_GENERATE,
        note="tokens in, tokens out; a request that leaves the model to the server is `no_model`",
    ),
)

ANSWERS = {
    **dict.fromkeys(("rerank", "score", "pooling", "classify"), INPUT_ONLY),
    "inference.generate": COMPLETION_ANSWER,  # of its choices, too, the tokens are ``token_ids``
}
ERRORS = openai.ERRORS

"""Cohere's API, v1 and v2.

The model is in the JSON body. Source: Cohere's API reference.
"""

from __future__ import annotations

from extproc.apis.row import Row
from extproc.bodies.json_reader import JsonReader

_CHAT = JsonReader(prompt=["/messages", "/documents"], limit=["/max_tokens"])
_CHAT_V1 = JsonReader(prompt=["/message", "/chat_history", "/preamble", "/documents"], limit=["/max_tokens"])
_GENERATE = JsonReader(prompt=["/prompt"], limit=["/max_tokens"])
_EMBED = JsonReader(stream="", prompt=["/texts", "/inputs", "/images"])
_RERANK = JsonReader(stream="", prompt=["/query", "/documents"])
_CLASSIFY = JsonReader(stream="", prompt=["/inputs", "/examples"])
_TOKENIZE = JsonReader(stream="", prompt=["/text"])
_DETOKENIZE = JsonReader(stream="", prompt=["/tokens"])

_ALSO_VLLM = "vLLM has it as well, made after this one"

ROWS = (
    Row(path="/v2/chat", api="cohere", operation="chat", reader=_CHAT),
    Row(path="/v2/embed", api="cohere", operation="embed", reader=_EMBED, note=_ALSO_VLLM),
    Row(path="/v2/rerank", api="cohere", operation="rerank", reader=_RERANK, note=_ALSO_VLLM),
    Row(path="/v3/rerank", api="cohere", operation="rerank", reader=_RERANK, note="OpenVINO Model Server's"),
    Row(path="/v1/chat", api="cohere", operation="chat", reader=_CHAT_V1),
    Row(path="/v1/generate", api="cohere", operation="generate", reader=_GENERATE),
    Row(path="/v1/embed", api="cohere", operation="embed", reader=_EMBED),
    Row(path="/v1/classify", api="cohere", operation="classify", reader=_CLASSIFY),
    Row(path="/v1/tokenize", api="cohere", operation="tokenize", reader=_TOKENIZE),
    Row(path="/v1/detokenize", api="cohere", operation="detokenize", reader=_DETOKENIZE),
)

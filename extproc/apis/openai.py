"""The OpenAI API, as vLLM, SGLang, TGI, NIM and hosted services speak it. Floor 2.

Model and stream flag are in the JSON body. Source: OpenAI's published OpenAPI description.
"""

from __future__ import annotations

from extproc.apis.row import Row
from extproc.jsonreader import JsonReader

_LIMITS = ("/max_completion_tokens", "/max_tokens")
CHAT = JsonReader(prompt=["/messages"], limit=_LIMITS)
COMPLETION = JsonReader(prompt=["/prompt"], limit=_LIMITS)
EMBEDDING = JsonReader(stream="", prompt=["/input"])

ROWS = (
    Row(path="/v1/chat/completions", api="openai", operation="chat.completions", reader=CHAT),
    Row(path="/v1/completions", api="openai", operation="completions", reader=COMPLETION),
    Row(path="/v1/embeddings", api="openai", operation="embeddings", reader=EMBEDDING),
)

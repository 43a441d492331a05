"""The OpenAI API, as vLLM, SGLang, TGI, NIM and hosted services speak it. Floor 2.

Model and stream flag are in the JSON body. Source: OpenAI's published OpenAPI description.
"""

from __future__ import annotations

from extproc import jsonbody
from extproc.apis.row import Row

ROWS = (
    Row("POST", "/v1/chat/completions", "openai", "chat.completions", jsonbody.read),
    Row("POST", "/v1/completions", "openai", "completions", jsonbody.read),
    Row("POST", "/v1/embeddings", "openai", "embeddings", jsonbody.read),
)

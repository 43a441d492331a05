"""Azure OpenAI and Azure AI Foundry: OpenAI's bodies under paths of their own.

A deployment is a model under a name of the customer's. In the older paths it is a segment, and the body is never
needed; the v1 paths have it as the body's ``model``. Source: Azure OpenAI's REST reference, data plane inference.
"""

from __future__ import annotations

from extproc.apis import openai
from extproc.apis.openai import BODIES, CHAT, EMBEDDING, FORM, FORMS, SESSION, operation
from extproc.apis.row import Row

_DEPLOYED = (
    "chat/completions",
    "completions",
    "embeddings",
    "images/generations",
    "images/edits",
    "audio/speech",
    "audio/transcriptions",
    "audio/translations",
)

ROWS = (
    *(Row(path=f"/openai/deployments/{{model}}/{path}", api="azure", operation=operation(path)) for path in _DEPLOYED),
    Row(path="/openai/deployments/{model}/extensions/chat/completions", api="azure", operation="chat.completions"),
    *(Row(path=f"/openai/v1/{path}", api="azure", operation=operation(path), reader=BODIES[path]) for path in BODIES),
    *(Row(path=f"/openai/v1/{path}", api="azure", operation=operation(path), reader=FORM) for path in FORMS),
    Row(path="/openai/v1/conversations", api="azure", operation="conversations"),
    Row(path="/openai/v1/conversations/{*}/items", api="azure", operation="conversations.items"),
    Row(path="/openai/responses", api="azure", operation="responses", reader=BODIES["responses"]),
    Row(path="/models/chat/completions", api="azure", operation="chat.completions", reader=CHAT),
    Row(path="/models/embeddings", api="azure", operation="embeddings", reader=EMBEDDING),
    Row(
        method="GET",
        path="/openai/realtime",
        api="azure",
        operation="realtime",
        query="deployment",
        stream=True,
        note="a WebSocket",
    ),
    Row(method="GET", path="/openai/v1/realtime", api="azure", operation="realtime", query="model", stream=True),
    Row(path="/openai/v1/realtime/calls", api="azure", operation="realtime.calls", query="model", stream=True),
    Row(path="/openai/realtimeapi/sessions", api="azure", operation="realtime.sessions", reader=SESSION),
)

ANSWERS = {name: shape for name, shape in openai.ANSWERS.items() if name != "responses.compact"}
SESSION_ANSWERS = openai.SESSION_ANSWERS
ERRORS = openai.ERRORS

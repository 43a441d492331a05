"""Azure OpenAI and Azure AI Foundry: OpenAI's bodies under paths of their own.

A deployment is a model under a name of the customer's. In the older paths it is a segment, and the body is never
needed; the v1 paths have it as the body's ``model``. Source: Azure OpenAI's REST reference, data plane inference.
"""

from __future__ import annotations

from extproc.apis import openai
from extproc.apis.openai import BODIES, CHAT, EMBEDDING, FORM, FORMS, KEPT, SESSION, operation
from extproc.apis.row import Row
from extproc.apis.stored_objects import stored_objects

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
    *(
        Row(
            path=f"/openai/v1/{path}",
            api="azure",
            operation=operation(path),
            reader=BODIES[path],
            stateful=path in KEPT,
        )
        for path in BODIES
    ),
    *(Row(path=f"/openai/v1/{path}", api="azure", operation=operation(path), reader=FORM) for path in FORMS),
    Row(path="/openai/responses", api="azure", operation="responses", reader=BODIES["responses"], stateful=True),
    *stored_objects("azure", ("/openai/v1/", "/openai/")),
    Row(path="/models/chat/completions", api="azure", operation="chat.completions", reader=CHAT),
    Row(path="/models/embeddings", api="azure", operation="embeddings", reader=EMBEDDING),
    Row(
        method="GET",
        path="/openai/realtime",
        api="azure",
        operation="realtime",
        query="deployment",
        stream=True,
        stateful=True,
        note="a WebSocket",
    ),
    *(
        Row(
            method=method,
            path=f"/openai/v1/{path}",
            api="azure",
            operation=operation(path),
            query="model",
            stream=True,
            stateful=True,
        )
        for method, path in (("GET", "realtime"), ("POST", "realtime/calls"))
    ),
    Row(path="/openai/realtimeapi/sessions", api="azure", operation="realtime.sessions", reader=SESSION),
)

ANSWERS = {name: shape for name, shape in openai.ANSWERS.items() if name not in ("responses.compact", "decisions")}
SESSION_ANSWERS = openai.SESSION_ANSWERS
ERRORS = openai.ERRORS

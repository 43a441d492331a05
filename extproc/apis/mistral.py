"""What Mistral's API has beside OpenAI's: code between two pieces, documents, classes.

The model is in the JSON body. Source: Mistral's API reference.
"""

from __future__ import annotations

from extproc.apis import openai
from extproc.apis.openai import CHAT_ANSWER, LIMITS
from extproc.apis.row import Row
from extproc.bodies.json_reader import JsonReader

_FIM = JsonReader(prompt=["/prompt", "/suffix"], limit=LIMITS)
_OCR = JsonReader(stream="", prompt=["/document"])
_CLASSIFY = JsonReader(stream="", prompt=["/input"])

ROWS = (
    Row(path="/v1/fim/completions", api="mistral", operation="fim.completions", reader=_FIM),
    Row(path="/v1/ocr", api="mistral", operation="ocr", reader=_OCR),
    *(
        Row(path=f"/v1/{path}", api="mistral", operation=path.replace("/", "."), reader=_CLASSIFY)
        for path in ("chat/moderations", "classifications", "chat/classifications")
    ),
    *(
        Row(
            method=method,
            path=f"/v1/conversations/{{*}}/{name}",
            api="mistral",
            operation=f"conversations.{name}",
            stateful=True,
        )
        for method, name in (("GET", "history"), ("GET", "messages"), ("POST", "restart"))
    ),
)

ANSWERS = {"fim.completions": CHAT_ANSWER}
ERRORS = openai.ERRORS

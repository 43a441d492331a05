"""Amazon Bedrock's runtime.

The path tells the model, an identifier or an ARN with ``%3A`` and ``%2F`` for its colons and slashes. Source: the
Amazon Bedrock API reference, "Amazon Bedrock Runtime".
"""

from __future__ import annotations

from extproc.apis.row import Row

_STREAMING = ("invoke-with-response-stream", "invoke-with-bidirectional-stream", "converse-stream")

ROWS = tuple(
    Row(path=f"/model/{{model}}/{action}", api="bedrock", operation=action, stream=action in _STREAMING)
    for action in ("invoke", "converse", "count-tokens", *_STREAMING)
)

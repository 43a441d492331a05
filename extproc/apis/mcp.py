"""The Model Context Protocol over streamable HTTP.

What a tool or a prompt is called stands where other APIs have the model; other messages name none. Source: the Model
Context Protocol's specification, "Transports" and "Base Protocol".
"""

from __future__ import annotations

from extproc.apis.row import Row
from extproc.bodies.jsonrpc import RpcReader

ROWS = (
    Row(
        path="/mcp", api="mcp", operation="message", reader=RpcReader(), note="the operation is the message's `method`"
    ),
    Row(method="GET", path="/mcp", api="mcp", operation="listen", stream=True),
    Row(method="DELETE", path="/mcp", api="mcp", operation="close"),
)

"""The Model Context Protocol over streamable HTTP.

What a tool or a prompt is called stands where other APIs have the model; other messages name none. Source: the Model
Context Protocol's specification, "Transports" and "Base Protocol".
"""

from __future__ import annotations

from extproc.apis.error_shape import CODE, KIND, MESSAGE, ErrorShape
from extproc.apis.row import Row
from extproc.bodies.jsonrpc import RpcReader

SESSION_HEADER = "mcp-session-id"
"""The server names a session in its first answer, the client in every later request."""
INITIALIZE = "initialize"
"""The method of the message that begins a session."""

ROWS = (
    Row(
        path="/mcp",
        api="mcp",
        operation="message",
        reader=RpcReader(),
        stateful=True,
        note="the operation is the message's `method`",
    ),
    Row(method="GET", path="/mcp", api="mcp", operation="listen", stream=True, stateful=True),
    Row(method="DELETE", path="/mcp", api="mcp", operation="close", stateful=True),
)

_ERROR = ErrorShape(  # JSON-RPC 2.0, section 5: the id is null where nobody has read it
    document={"jsonrpc": "2.0", "id": None, "error": {"code": KIND, "message": MESSAGE, "data": {"code": CODE}}},
    kinds={400: -32600, 500: -32603},
)
ERRORS = {"": _ERROR}

"""A server by the official MCP SDK: ``python mcp_server.py NAME PORT``. Its one tool tells its name.

Run by ``tests.clients.follow_ups``, never imported.
"""

from __future__ import annotations

import importlib
import sys

name, port = sys.argv[1], int(sys.argv[2])
server = importlib.import_module("mcp.server").MCPServer(name, log_level="WARNING")


@server.tool()  # type: ignore[untyped-decorator]
def who() -> str:
    """The server's name."""
    return name


server.run("streamable-http", port=port)

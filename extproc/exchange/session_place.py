"""Where the session of a request is, by the tag that Envoy has appended to the session's id.

The id is in the header ``mcp-session-id`` of MCP's messages, which Envoy itself cleans (``render.envoy.sessions``), or,
of a Realtime call, in the path or the query. Tags anywhere else are a client's own text.
"""

from __future__ import annotations

from typing import TypeAlias

from extproc.apis.mcp import SESSION_HEADER
from extproc.bodies.request import Operation
from extproc.headers import Headers
from extproc.policy.session_tag import CALL, MCP, Place, split_path, tag_at_end
from extproc.policy.snapshot import Snapshot

SetHeaders: TypeAlias = tuple[tuple[str, str], ...]


def session_place(operation: Operation, headers: Headers, snapshot: Snapshot) -> tuple[Place | None, SetHeaders]:
    """The place, and the header that takes the tag out of the path.

    None where the request has no session, two of them, or one of a server that is in no policy any more: the request is
    decided like others.
    """
    if operation.api == "mcp":
        sessions = headers.all(SESSION_HEADER)
        return _place(snapshot, MCP, tag_at_end(sessions[0].decode("latin-1")) if len(sessions) == 1 else ""), ()
    if snapshot.session_keys and (operation.name == "realtime" or operation.name.startswith("realtime.calls.")):
        path = headers.text(":path")
        changed, tag = split_path(path)
        return _place(snapshot, CALL, tag), ((":path", changed),) if changed != path else ()
    return None, ()


def _place(snapshot: Snapshot, kind: str, tag: str) -> Place | None:
    return snapshot.places.get((kind, tag)) if tag else None

"""Where the session of a request is, by the tag that Envoy has appended to the session's id.

The id is in the header ``mcp-session-id``, which Envoy itself cleans (``render.envoy.sessions``), or, of a Realtime
call, in the path.
"""

from __future__ import annotations

from extproc.apis.mcp import SESSION_HEADER
from extproc.bodies.request import Operation
from extproc.headers import Headers
from extproc.policy.session_tag import Place, split_path, tag_at_end
from extproc.policy.snapshot import Snapshot

MESSAGE = Operation("mcp", "message", "", stateful=True)
"""A request of a session on a path that is none of ours."""


def session_place(headers: Headers, snapshot: Snapshot) -> tuple[Place | None, str]:
    """The place, and the path without the tag; empty where it has none.

    None where the request has no session, or its server is in no policy any more: the request is decided like others.
    """
    if SESSION_HEADER in headers:
        return snapshot.places.get(tag_at_end(headers.text(SESSION_HEADER))), ""
    path, tag = split_path(headers.text(":path"))
    return (snapshot.places.get(tag), path) if tag else (None, "")

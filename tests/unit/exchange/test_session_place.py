"""Requests of a session go where it is, whatever else they say."""

from __future__ import annotations

from typing import Any

import pytest

from extproc.envoy.actions import HeadersReply, Mutation
from extproc.envoy.events import BodyMode, Protocol, RequestBody, RequestHeaders
from extproc.exchange.route import RouteStream
from extproc.exchange.session_place import session_place
from extproc.headers import Headers
from extproc.policy.session_tag import Place, session_tag
from extproc.policy.snapshot import Policy, Snapshot, Version

SNAPSHOT = Snapshot(
    (
        Policy("p", versions=(Version("v1", 1, ("1.1.1.1:1", "1.1.1.2:1")), Version("v2", 0, ("1.1.1.3:1",)))),
        Policy("tools", models=("search",), versions=(Version("v1", 1, ("1.1.1.4:1",), model_rewrite="find"),)),
    )
)
V1 = SNAPSHOT.targets["p", "v1"][0]
TAG = session_tag(V1, "1.1.1.2:1")
MIRRORED = Policy("p", versions=(Version("v1"), Version("m", 0, ("2.2.2.2:1",), mirror=5)))


def head(path: str, method: str = "POST", **fields: str) -> Headers:
    named = [(name.replace("_", "-"), value) for name, value in fields.items()]
    return Headers.of([(":method", method), (":path", path), *named])


def decided(path: str, body: bytes, **fields: str) -> tuple[dict[str, str], dict[str, str]]:
    """Headers that are set, and metadata."""
    stream = RouteStream(SNAPSHOT, b"entropy")
    protocol = Protocol(BodyMode.STREAMED, send_body_without_waiting=True)
    actions: list[Any] = list(stream.receive(RequestHeaders(head(path, **fields), not body, protocol)))
    if not actions:
        actions += stream.receive(RequestBody(body, end_of_stream=True))
    mutation: Mutation = next(action.mutation for action in actions if isinstance(action, HeadersReply))
    return dict(mutation.set), dict(mutation.metadata)


def test_by_the_header_and_by_the_path_of_a_call() -> None:
    assert session_place(head("/mcp", mcp_session_id=f"abc~{TAG}"), SNAPSHOT) == (Place(V1, "1.1.1.2:1"), "")
    by_path = session_place(head(f"/v1/realtime/calls/rtc~{TAG}/hangup"), SNAPSHOT)
    assert by_path == (Place(V1, "1.1.1.2:1"), "/v1/realtime/calls/rtc/hangup")
    assert session_place(head("/mcp", mcp_session_id="abc"), SNAPSHOT) == (None, "")
    assert session_place(head("/mcp"), SNAPSHOT) == (None, "")


def test_a_server_that_left_the_policy_is_no_place() -> None:
    gone = session_tag(V1, "9.9.9.9:1")
    assert session_place(head("/mcp", mcp_session_id=f"abc~{gone}"), SNAPSHOT) == (None, "")
    assert session_place(head(f"/v1/realtime/calls/rtc~{gone}/hangup"), SNAPSHOT)[1] == "/v1/realtime/calls/rtc/hangup"


def test_copies_have_no_sessions() -> None:
    snapshot = Snapshot((MIRRORED,))
    assert {place.target.version for place in snapshot.places.values()} == {"v1"}


@pytest.mark.parametrize(
    "body", [b'{"method":"ping"}', b'{"method":"tools/call","params":{"name":"search"}}', b"{broken", b""]
)
@pytest.mark.parametrize("path", ["/mcp", "/elsewhere"])
def test_it_goes_to_its_server(path: str, body: bytes) -> None:
    """Also a call of a tool that another policy owns, which is not renamed, and what can't be read."""
    found, metadata = decided(path, body, mcp_session_id=f"abc~{TAG}")
    assert (found["x-model-version"], found["x-gateway-destination-endpoint"]) == ("v1", "1.1.1.2:1")
    assert (metadata["policy"], metadata["version"], metadata["cohort"]) == ("p", "v1", "session")


def test_a_calls_path_goes_upstream_as_the_server_made_it() -> None:
    found, metadata = decided(f"/v1/realtime/calls/rtc~{TAG}/hangup", b"")
    assert found[":path"] == "/v1/realtime/calls/rtc/hangup"
    assert metadata["cohort"] == "session"


def test_others_are_decided_as_ever() -> None:
    found, metadata = decided("/mcp", b'{"method":"tools/call","params":{"name":"search"}}', mcp_session_id="abc")
    assert (found["x-model-name"], metadata["policy"], metadata["cohort"]) == ("search", "tools", "default")

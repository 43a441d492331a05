"""Requests of a session go where it is, whatever else they say."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec import structs

from extproc import apis
from extproc.bodies.request import Operation
from extproc.envoy.actions import HeadersReply, Mutation, Reject
from extproc.envoy.events import BodyMode, Protocol, RequestBody, RequestHeaders
from extproc.exchange.route import RouteStream
from extproc.exchange.session_place import session_place
from extproc.headers import Headers
from extproc.policy.session_tag import CALL, MCP, Place, session_tag
from extproc.policy.snapshot import Policy, Snapshot, Version

SNAPSHOT = Snapshot(
    (
        Policy("p", versions=(Version("v1", 1, ("1.1.1.1:1", "1.1.1.2:1")), Version("v2", 0, ("1.1.1.3:1",)))),
        Policy("tools", models=("search",), versions=(Version("v1", 1, ("1.1.1.4:1",), model_rewrite="find"),)),
    ),
    session_keys=(b"new", b"old"),
)
V1, V2 = (SNAPSHOT.targets["p", version][0] for version in ("v1", "v2"))
TAG, CALL_TAG = (session_tag(b"old", kind, V1, "1.1.1.2:1") for kind in (MCP, CALL))
MESSAGE = Operation("mcp", "message", stateful=True)
MIRRORED = Policy("p", versions=(Version("v1"), Version("m", 0, ("2.2.2.2:1",), mirror=5)))


def head(path: str, method: str = "POST", **fields: str) -> Headers:
    named = [(name.replace("_", "-"), value) for name, value in fields.items()]
    return Headers.of([(":method", method), (":path", path), *named])


def answers(snapshot: Snapshot, path: str, body: bytes, method: str = "POST", **fields: str) -> list[Any]:
    stream = RouteStream(snapshot, b"entropy")
    protocol = Protocol(BodyMode.STREAMED, send_body_without_waiting=True)
    actions: list[Any] = list(stream.receive(RequestHeaders(head(path, method, **fields), not body, protocol)))
    if not actions:
        actions += stream.receive(RequestBody(body, end_of_stream=True))
    return actions


def decided(path: str, body: bytes, method: str = "POST", **fields: str) -> tuple[dict[str, str], dict[str, str]]:
    """Headers that are set, and metadata."""
    actions = answers(SNAPSHOT, path, body, method, **fields)
    mutation: Mutation = next(action.mutation for action in actions if isinstance(action, HeadersReply))
    endpoint = {"x-gateway-destination-endpoint": mutation.endpoints} if mutation.endpoints else {}
    return dict(mutation.set) | endpoint, dict(mutation.metadata)


def placed(path: str, method: str = "POST", **fields: str) -> tuple[Place | None, object]:
    headers = head(path, method, **fields)
    operation = apis.classify(method, path, headers)
    assert operation is not None
    return session_place(operation, headers, SNAPSHOT)


def test_by_the_header_and_by_the_path_of_a_call() -> None:
    assert placed("/mcp", mcp_session_id=f"abc~{TAG}") == (Place(V1, "1.1.1.2:1"), ())
    by_path = placed(f"/v1/realtime/calls/rtc~{CALL_TAG}/hangup")
    assert by_path == (Place(V1, "1.1.1.2:1"), ((":path", "/v1/realtime/calls/rtc/hangup"),))
    by_query = placed(f"/v1/realtime?call_id=rtc~{CALL_TAG}", "GET")
    assert by_query == (Place(V1, "1.1.1.2:1"), ((":path", "/v1/realtime?call_id=rtc"),))
    assert placed("/mcp", mcp_session_id="abc") == (None, ())
    assert placed("/mcp") == (None, ())


@pytest.mark.parametrize(
    ("path", "method"),
    [
        ("/v1/responses", "POST"),
        (f"/v1/responses?x=~{CALL_TAG}", "POST"),
        (f"/v1/responses/r~{CALL_TAG}", "GET"),
        (f"/v1/realtime/calls?call_id=rtc~{CALL_TAG}", "POST"),  # a new call
        (f"/v1/realtime/calls/rtc~{TAG}/hangup", "POST"),  # a tag of MCP
        (f"/v1/realtime/calls/..~{CALL_TAG}/hangup", "POST"),
    ],
)
def test_a_tag_counts_only_where_envoy_gave_it(path: str, method: str) -> None:
    assert placed(path, method, mcp_session_id=f"abc~{TAG}")[0] is None


def test_tags_of_calls_two_tags_and_two_headers_are_none_of_a_session() -> None:
    assert placed("/mcp", mcp_session_id=f"abc~{CALL_TAG}")[0] is None
    assert placed("/mcp", mcp_session_id=f"abc~{TAG}~{TAG}")[0] is None
    twice = [("mcp-session-id", f"abc~{TAG}")] * 2
    assert session_place(MESSAGE, Headers.of([(":path", "/mcp"), *twice]), SNAPSHOT)[0] is None


def test_without_a_key_there_are_no_tags() -> None:
    headers = head("/mcp", mcp_session_id=f"abc~{TAG}")
    assert session_place(MESSAGE, headers, structs.replace(SNAPSHOT, session_keys=()))[0] is None


def test_a_server_that_left_the_policy_is_no_place() -> None:
    gone = session_tag(b"new", CALL, V1, "9.9.9.9:1")
    assert placed("/mcp", mcp_session_id=f"abc~{gone}") == (None, ())
    path = f"/v1/realtime/calls/rtc~{gone}/hangup"
    assert placed(path) == (None, ((":path", "/v1/realtime/calls/rtc/hangup"),))
    found, metadata = decided(path, b"")
    assert (found[":path"], metadata["cohort"]) == ("/v1/realtime/calls/rtc/hangup", "weight")


def test_a_new_session_is_decided_like_any_request() -> None:
    """Else a tag of one session would lead all later ones to a version that the policy gives no share."""
    tag = session_tag(b"new", MCP, V2, "1.1.1.3:1")
    of_v2 = {"mcp_session_id": f"abc~{tag}"}
    assert decided("/mcp", b'{"method":"ping"}', **of_v2)[1]["version"] == "v2"
    assert decided("/mcp", b'{"method":"initialize"}', **of_v2)[1]["version"] == "v1"


def refusing(**says: bool) -> Snapshot:
    policies = tuple(structs.replace(policy, models=("search",), **says) for policy in SNAPSHOT.policies[:1])
    return Snapshot(policies, session_keys=SNAPSHOT.session_keys)


@pytest.mark.parametrize(
    ("says", "body", "status"),
    [
        ("reject_unowned", b'{"method":"tools/call","params":{"name":"other"}}', 404),
        ("reject_unreadable", b"{broken", 400),
        ("reject_unreadable", b"", 400),
    ],
)
def test_a_session_is_no_way_around_what_policies_refuse(says: str, body: bytes, status: int) -> None:
    def refused(snapshot: Snapshot) -> list[int]:
        found = answers(snapshot, "/mcp", body, mcp_session_id=f"abc~{TAG}")
        return [action.status for action in found if isinstance(action, Reject)]

    assert refused(refusing(**{says: True})) == [status]
    assert refused(refusing()) == []


def test_copies_have_no_sessions() -> None:
    snapshot = Snapshot((MIRRORED,), session_keys=(b"k",))
    assert {place.target.version for place in snapshot.places.values()} == {"v1"}


@pytest.mark.parametrize(
    "body", [b'{"method":"ping"}', b'{"method":"tools/call","params":{"name":"search"}}', b"{broken", b""]
)
def test_it_goes_to_its_server(body: bytes) -> None:
    """Also a call of a tool that another policy owns, which is not renamed, and what can't be read."""
    found, metadata = decided("/mcp", body, mcp_session_id=f"abc~{TAG}")
    assert (found["x-model-version"], found["x-gateway-destination-endpoint"]) == ("v1", "1.1.1.2:1")
    assert (metadata["policy"], metadata["version"], metadata["cohort"]) == ("p", "v1", "session")


def test_a_calls_path_goes_upstream_as_the_server_made_it() -> None:
    found, metadata = decided(f"/v1/realtime/calls/rtc~{CALL_TAG}/hangup", b"")
    assert found[":path"] == "/v1/realtime/calls/rtc/hangup"
    assert metadata["cohort"] == "session"


def test_others_are_decided_as_ever() -> None:
    found, metadata = decided("/mcp", b'{"method":"tools/call","params":{"name":"search"}}', mcp_session_id="abc")
    assert (found["x-model-name"], metadata["policy"], metadata["cohort"]) == ("search", "tools", "default")

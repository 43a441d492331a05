"""``explain`` says whether later requests find what a server keeps."""

from __future__ import annotations

import pytest

from extproc.exchange.explain import explain
from extproc.policy.session_tag import MCP, session_tag
from extproc.policy.snapshot import Policy, Snapshot, Sticky, Version

STICKY = Sticky(header="x-user")
TWO = (Version("v1", 1, ("1.1.1.1:1",)), Version("v2", 1, ("1.1.1.2:1",)))
NAMED = (Version("v1", 1, ("a:1", "b:1")), Version("v2", 1, ("c:1", "d:1")))
KEY = [("x-user", "7")]
LOST = "only a sticky key in each request leads there"


def reason(
    snapshot: Snapshot, *fields: tuple[str, str], path: str = "/v1/responses", body: bytes = b'{"model":"m"}'
) -> str:
    return str(explain(snapshot, "POST", path, fields, body, b"entropy")["reason"])


@pytest.mark.parametrize(
    ("policy", "fields", "said"),
    [
        (Policy("p", versions=TWO), [], LOST),
        (Policy("p", versions=TWO, sticky=STICKY), [], LOST),
        (Policy("p", versions=TWO, sticky=STICKY), KEY, ""),
        (Policy("p", versions=TWO[:1]), [], ""),
        (Policy("p", versions=NAMED, sticky=STICKY), KEY, "name them by IP address"),
        (Policy("p", versions=(Version("v1", 1, ("1.1.1.1:1", "1.1.1.2:1")),)), [], LOST),
        (Policy("p", versions=(Version("v1", 1, ("1.1.1.1:1", "1.1.1.2:1")),), sticky=STICKY), KEY, ""),
    ],
)
def test_what_a_server_keeps(policy: Policy, fields: list[tuple[str, str]], said: str) -> None:
    found = reason(Snapshot((policy,)), *fields)
    assert said in found
    assert ("keeps" in found) is bool(said)


def test_ids_do_not_tell_the_policy() -> None:
    snapshot = Snapshot((Policy("a", models=("x",)), Policy("b", models=("m",), versions=TWO, sticky=STICKY)))
    assert "the servers of policy a get them" in reason(snapshot, *KEY)
    assert reason(snapshot, *KEY, path="/v1/responses/r1/cancel", body=b"").startswith(
        "it names no model, and the servers of policy a get such requests"
    )


def test_what_keeps_nothing_needs_no_key() -> None:
    assert "keeps" not in reason(Snapshot((Policy("p", versions=TWO),)), path="/v1/chat/completions")


def test_sessions_hold_by_their_tags() -> None:
    snapshot = Snapshot((Policy("p", versions=TWO),), session_keys=(b"k",))
    assert "keeps" not in reason(snapshot, path="/mcp", body=b'{"method":"initialize"}')
    tag = session_tag(b"k", MCP, snapshot.targets["p", "v2"][0], "1.1.1.2:1")
    found = reason(snapshot, ("mcp-session-id", f"s~{tag}"), path="/mcp", body=b'{"method":"ping"}')
    assert found == "the session is at v2, as the tag in its id says"

"""Which models are listed, and when a model server is asked instead."""

from __future__ import annotations

import json

import pytest

from extproc.envoy.actions import Answer, Finish
from extproc.envoy.events import RequestHeaders
from extproc.exchange.explain import explain
from extproc.exchange.notes import Unmatched
from extproc.exchange.route import RouteStream, State
from extproc.headers import Headers
from extproc.policy.snapshot import Policy, Snapshot

NAMED = Snapshot((Policy("a", models=("llama", "qwen")), Policy("b", models=("phi", "phi-*")), Policy("c")))
PATTERNS = Snapshot((Policy("a", models=("llama-*",)), Policy("b")))


def test_the_names_of_all_policies_without_patterns() -> None:
    stream = RouteStream(NAMED, b"entropy")
    answer, finish = stream.receive(RequestHeaders(Headers.of([(":method", "GET"), (":path", "/v1/models")]), True))
    assert isinstance(answer, Answer)
    assert [model["id"] for model in json.loads(answer.body)["data"]] == ["llama", "qwen", "phi"]
    assert answer.metadata == (("api", "openai"), ("operation", "models"))
    assert (finish, stream.state) == (Finish(), State.DONE)


@pytest.mark.parametrize(
    ("snapshot", "path"), [(PATTERNS, "/v1/models"), (Snapshot(), "/v1/models"), (NAMED, "/v1/models/llama")]
)
def test_without_names_a_model_server_is_asked(snapshot: Snapshot, path: str) -> None:
    head = Headers.of([(":method", "GET"), (":path", path)])
    assert Unmatched("no_api") in RouteStream(snapshot, b"entropy").receive(RequestHeaders(head, True))


def test_it_is_explained() -> None:
    assert "itself answers" in explain(NAMED, "GET", "/api/tags", [], b"")["reason"]

"""What a request gets for a model that no policy owns, where a policy has ``onUnowned: reject`` and where none has."""

from __future__ import annotations

import json

import pytest

from extproc.envoy.actions import Finish, HeadersReply, Reject
from extproc.envoy.events import BodyMode, Protocol, RequestBody, RequestHeaders
from extproc.exchange.explain import UNMATCHED, explain
from extproc.exchange.notes import Action, Unmatched
from extproc.exchange.route import RouteStream
from extproc.headers import Headers
from extproc.policy.snapshot import Policy, Snapshot, Version
from extproc.policy.unowned_requests import refusal

PASSING = Snapshot((Policy("a", models=("a",), versions=(Version("v1"),)), Policy("b", models=("b-*",))))
REJECTING = Snapshot((PASSING.policies[0], Policy("b", models=("b-*",), reject_unowned=True)))
PROTOCOLS = [
    Protocol(BodyMode.STREAMED, send_body_without_waiting=True),
    Protocol(BodyMode.BUFFERED),
    Protocol(BodyMode.FULL_DUPLEX_STREAMED),
]


def answer(snapshot: Snapshot, path: str, body: bytes, protocol: Protocol = PROTOCOLS[0]) -> list[Action]:
    stream = RouteStream(snapshot, b"entropy")
    head = Headers.of([(":method", "POST"), (":path", path)])
    actions = list(stream.receive(RequestHeaders(head, not body, protocol)))
    if Finish() not in actions:
        actions += stream.receive(RequestBody(body, end_of_stream=True))
    return actions


@pytest.mark.parametrize("protocol", PROTOCOLS, ids=["streamed", "buffered", "duplex"])
@pytest.mark.parametrize(("path", "body"), [("/v1/messages", b'{"model":"c"}'), ("/v2/models/c/infer", b"")])
def test_it_is_refused_in_every_mode_by_one_policy(path: str, body: bytes, protocol: Protocol) -> None:
    passed = answer(PASSING, path, body, protocol)
    assert Unmatched("no_policy") in passed
    assert not [action for action in passed if isinstance(action, Reject)]
    (reject,) = (action for action in answer(REJECTING, path, body, protocol) if isinstance(action, Reject))
    assert (reject.status, reject.code, reject.message) == (404, "model_not_found", "the model 'c' is not served here")
    assert dict(reject.metadata)["model"] == "c"


def test_it_is_refused_in_the_shape_of_the_api() -> None:
    (reject, _) = answer(REJECTING, "/v1/messages", b'{"model":"c"}')
    assert isinstance(reject, Reject)
    expected = {"type": "error", "error": {"type": "not_found_error", "message": "the model 'c' is not served here"}}
    assert json.loads(reject.body) == expected


@pytest.mark.parametrize(
    ("path", "body"), [("/v1/chat/completions", b'{"model":"a"}'), ("/v1/chat/completions", b'{"model":"b-1"}')]
)
def test_what_is_owned_is_routed(path: str, body: bytes) -> None:
    reply, _ = answer(REJECTING, path, body)
    assert isinstance(reply, HeadersReply)
    assert reply.mutation.set


@pytest.mark.parametrize(
    ("path", "body", "reason"),
    [
        ("/favicon.ico", b"", "no_api"),
        ("/generate", b'{"inputs": "a"}', "no_model"),
        ("/v1/chat/completions", b"{}", "no_model"),
    ],
)
def test_what_names_no_model_passes(path: str, body: bytes, reason: str) -> None:
    assert Unmatched(reason) in answer(REJECTING, path, body)


def test_without_policies_all_passes() -> None:
    assert refusal(Snapshot(), "c") is None
    assert refusal(PASSING, "c") is None
    assert refusal(REJECTING, "") is None


def test_it_is_explained() -> None:
    found = explain(REJECTING, "POST", "/v1/chat/completions", [], b'{"model":"c"}', b"entropy")
    assert found["reject"] == {
        "status": 404,
        "code": "model_not_found",
        "message": "the model 'c' is not served here",
    }
    assert found["reason"] == UNMATCHED["no_policy"] + "; a policy has onUnowned: reject"
    assert (found["model"], found["policy"]) == ("c", None)

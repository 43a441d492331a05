"""What a request gets whose model can't be read, where a policy has ``onUnreadable: reject`` and where none has."""

from __future__ import annotations

import gzip
from typing import Any

import pytest

from extproc.envoy.actions import Finish, HeadersReply, Reject
from extproc.envoy.events import BodyMode, Protocol, RequestBody, RequestHeaders
from extproc.errors import Rejected
from extproc.exchange.explain import UNMATCHED, explain
from extproc.exchange.notes import Unmatched
from extproc.exchange.route import RouteStream, State
from extproc.headers import Headers
from extproc.policy.picking import Picking
from extproc.policy.snapshot import Policy, Snapshot, Version
from extproc.policy.unreadable_requests import is_owned, refusal

PASSING = Snapshot((Policy("a", models=("a",), versions=(Version("v1"),)), Policy("b", models=("b",))))
REJECTING = Snapshot((PASSING.policies[0], Policy("b", models=("b",), reject_unreadable=True)))
STREAMED = Protocol(BodyMode.STREAMED, send_body_without_waiting=True)
BUFFERED = Protocol(BodyMode.BUFFERED)
DUPLEX = Protocol(BodyMode.FULL_DUPLEX_STREAMED)
CHAT = "/v1/chat/completions"
INFER = "/inference.GRPCInferenceService/ModelInfer"
STREAM = "/inference.GRPCInferenceService/ModelStreamInfer"


def answer(snapshot: Snapshot, path: str, body: bytes, protocol: Protocol = STREAMED, **headers: str) -> list[Any]:
    """What a request gets; an empty body: it ends with its headers."""
    stream = RouteStream(snapshot, b"entropy")
    named = [(name.replace("_", "-"), value) for name, value in headers.items()]
    head = Headers.of([(":method", "POST"), (":path", path), *named])
    actions = list(stream.receive(RequestHeaders(head, not body, protocol)))
    if body and Finish() not in actions:
        actions += stream.receive(RequestBody(body, end_of_stream=True))
    assert stream.state is State.DONE
    return actions


UNREAD = [
    (CHAT, b"", {}, "no_body"),
    (CHAT, b"hello", {}, "bad_json"),
    (CHAT, b"{}", {}, "no_model"),
    (CHAT, b'{"model":7}', {}, "bad_model"),
    (CHAT, gzip.compress(b'{"model":"a"}')[:-9], {"content_encoding": "gzip"}, "content_encoding"),
    ("/v1/images/edits", b"{}", {}, "content_type"),
    ("/v1/images/edits", b"--", {"content_type": "multipart/form-data; boundary=B"}, "bad_multipart"),
    (INFER, b"\0\0\0\0\1\7", {"content_type": "application/grpc"}, "bad_grpc"),
    (INFER, b"\0\0\0\0\2\7", {"content_type": "application/grpc"}, "truncated"),
]


@pytest.mark.parametrize("protocol", [STREAMED, BUFFERED, DUPLEX], ids=["streamed", "buffered", "duplex"])
@pytest.mark.parametrize(("path", "body", "headers", "reason"), UNREAD, ids=[reason for *_, reason in UNREAD])
def test_every_reason_is_refused_in_every_mode(
    path: str, body: bytes, headers: dict[str, str], reason: str, protocol: Protocol
) -> None:
    passed = answer(PASSING, path, body, protocol, **headers)
    assert Unmatched(reason) in passed
    assert not [action for action in passed if isinstance(action, Reject)]
    *before, reject, finish = answer(REJECTING, path, body, protocol, **headers)
    assert before == ([HeadersReply()] if protocol is BUFFERED and body else [])
    assert (reject.status, reject.code, reject.message) == (
        400,
        reason,
        f"no model can be read from the request ({reason})",
    )
    assert (reject.grpc, finish) == (path == INFER, Finish())


def test_a_call_of_many_messages_that_nobody_can_wait_for_is_refused() -> None:
    kind = "application/grpc"
    reject, _ = answer(REJECTING, STREAM, b"\0\0\0\0\3\x0a\1a", BUFFERED, content_type=kind)
    assert (reject.code, reject.grpc) == ("streamed_request", True)


@pytest.mark.parametrize(
    ("path", "body", "reason"),
    [
        ("/v1/models", b"", "no_api"),
        (CHAT, b'{"model":"c"}', "no_policy"),
        ("/generate", b'{"inputs": "a"}', "no_model"),
    ],
)
def test_what_is_no_inference_and_what_nobody_owns_passes(path: str, body: bytes, reason: str) -> None:
    assert Unmatched(reason) in answer(REJECTING, path, body)


def test_what_can_be_read_is_routed() -> None:
    reply, _ = answer(REJECTING, CHAT, b'{"model":"a"}')
    assert ("x-model-version", "v1") in reply.mutation.set


def test_one_policy_suffices() -> None:
    assert refusal(PASSING, "bad_json") is None
    assert refusal(Snapshot(), "bad_json") is None
    rejected = refusal(REJECTING, "bad_json")
    assert isinstance(rejected, Rejected)
    assert (rejected.status, rejected.code) == (400, "bad_json")


def test_it_is_explained() -> None:
    found = explain(REJECTING, "POST", CHAT, [], b"hello", b"entropy")
    assert found["reject"] == {
        "status": 400,
        "code": "bad_json",
        "message": "no model can be read from the request (bad_json)",
    }
    assert found["reason"] == UNMATCHED["bad_json"] + "; a policy has onUnreadable: reject"
    assert (found["api"], found["model"], found["policy"]) == ("openai", None, None)
    assert explain(PASSING, "POST", CHAT, [], b"hello", b"entropy")["reject"] is None


def test_it_is_a_policys_that_owns_every_model_and_has_servers_picked() -> None:
    everything, some = Policy("a", picking=Picking()), Policy("a", models=("a",), picking=Picking())
    assert is_owned(Snapshot((everything,)))
    assert not is_owned(Snapshot((some,)))
    assert not is_owned(Snapshot((Policy("a"),)))
    assert not is_owned(Snapshot())

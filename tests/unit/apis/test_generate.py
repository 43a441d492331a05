"""``/generate`` as TGI and SGLang document it: no request names its model."""

from __future__ import annotations

from typing import Any

import pytest

from extproc.bodies.request import InferenceRequest
from extproc.envoy.actions import Finish, HeadersReply, Mutation, Reject
from extproc.envoy.events import BodyMode, Protocol, RequestBody, RequestHeaders
from extproc.exchange.notes import Unmatched
from extproc.exchange.route import RouteStream
from extproc.headers import Headers
from extproc.policy.snapshot import Policy, Snapshot
from tests.unit.apis.requests import interpret, json_size

TGI = {"inputs": "What is a mesh?", "parameters": {"max_new_tokens": 20, "adapter_id": "predibase/dbpedia"}}
SGLANG = {"text": "Paris is", "sampling_params": {"max_new_tokens": 8}, "stream": True, "lora_path": "lora0"}


@pytest.mark.parametrize(
    ("line", "body", "expected"),
    [
        (
            "POST /generate",
            TGI,
            InferenceRequest(
                "generate", "generate", "", None, False, "predibase/dbpedia", 20, json_size("What is a mesh?")
            ),
        ),
        (
            "POST /",
            TGI | {"stream": True},
            InferenceRequest(
                "generate", "generate", "", None, True, "predibase/dbpedia", 20, json_size("What is a mesh?")
            ),
        ),
        (
            "POST /generate_stream",
            TGI,
            InferenceRequest(
                "generate", "generate_stream", "", None, True, "predibase/dbpedia", 20, json_size("What is a mesh?")
            ),
        ),
        (
            "POST /generate",
            SGLANG,
            InferenceRequest("generate", "generate", "", None, True, "lora0", 8, json_size("Paris is")),
        ),
        (
            "POST /generate",
            {"input_ids": [1, 2]},
            InferenceRequest("generate", "generate", "", prompt_bytes=json_size([1, 2])),
        ),
        (
            "POST /generate",
            {"text": ["a", "b"], "lora_path": ["x", None], "sampling_params": [{"max_new_tokens": 1}]},
            InferenceRequest("generate", "generate", "", prompt_bytes=json_size(["a", "b"])),
        ),
    ],
)
def test_asks_for(line: str, body: Any, expected: InferenceRequest) -> None:
    assert interpret(line, body) == expected


@pytest.mark.parametrize("line", ["POST /", "POST /generate", "POST /generate_stream"])
@pytest.mark.parametrize(
    "body",
    [{}, {"q": 1}, {"jsonrpc": "2.0", "id": 1, "method": "ping"}, {"query": "{ viewer { login } }"}],
)
def test_other_json_at_these_paths_is_another_programs(line: str, body: Any) -> None:
    assert interpret(line, body) == "no_api"


@pytest.mark.parametrize("key", ["inputs", "text", "input_ids", "input_embeds", "prompt"])
def test_one_of_the_keys_suffices(key: str) -> None:
    assert interpret("POST /generate", {key: "a"}) != "no_api"
    assert (interpret("POST /", {key: "a"}) == "no_api") == (key != "inputs")


@pytest.mark.parametrize(
    ("line", "reason"),
    [("GET /generate", "no_api"), ("POST /generate//", "no_api"), ("POST /generates", "no_api")],
)
def test_does_not_ask_for(line: str, reason: str) -> None:
    assert interpret(line, TGI) == reason


def head(protocol: Protocol | None = None, end: bool = False, length: str = "") -> RequestHeaders:
    pairs = [(":method", "POST"), (":path", "/"), *([("content-length", length)] if length else [])]
    return RequestHeaders(Headers.of(pairs), end_of_stream=end, protocol=protocol)


class TestAPathThatMuchElseHas:
    """``POST /``: what is none of TGI's is nobody's, and never refused."""

    STRICT = Snapshot((Policy("all", models=("*",), reject_unreadable=True, body_limit=99),))

    @pytest.mark.parametrize("body", [b"a=b", b"{}", b'{"jsonrpc":"2.0"}', b'{"text":"for SGLang"}', b"\xff", b"[1]"])
    @pytest.mark.parametrize(
        "protocol",
        [
            Protocol(BodyMode.STREAMED, send_body_without_waiting=True),
            Protocol(BodyMode.BUFFERED),
            Protocol(BodyMode.FULL_DUPLEX_STREAMED),
        ],
    )
    def test_it_passes_on(self, body: bytes, protocol: Protocol) -> None:
        stream = RouteStream(self.STRICT, b"e")
        actions = [*stream.receive(head(protocol)), *stream.receive(RequestBody(body, end_of_stream=True))]
        assert [action for action in actions if isinstance(action, Unmatched)] == [Unmatched("no_api")]
        assert not [action for action in actions if isinstance(action, Reject)]
        assert stream.operation.api == ""

    @pytest.mark.parametrize("event", [head(end=True), head(length="1000000")])
    def test_it_passes_on_by_its_head(self, event: RequestHeaders) -> None:
        told = HeadersReply(Mutation(metadata=(("cohort", "unowned"),)))
        assert RouteStream(self.STRICT, b"e").receive(event) == (Unmatched("no_api"), told, Finish())

    def test_what_is_tgis_is_decided(self) -> None:
        stream = RouteStream(self.STRICT, b"e")
        stream.receive(head(Protocol(BodyMode.STREAMED, send_body_without_waiting=True)))
        reply, _ = stream.receive(RequestBody(b'{"inputs":"Why?"}', end_of_stream=True))
        assert isinstance(reply, HeadersReply)
        assert ("policy", "all") in reply.mutation.metadata

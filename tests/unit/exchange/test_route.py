"""The route filter's conversation with Envoy: every mode of the body, every event in every state."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from extproc.bodies.request import InferenceRequest
from extproc.envoy.actions import BodyEcho, BodyReply, Finish, HeadersReply, Mutation, Reject, TrailersReply
from extproc.envoy.events import (
    KINDS,
    BodyMode,
    Closed,
    Event,
    Protocol,
    RequestBody,
    RequestHeaders,
    RequestTrailers,
    ResponseBody,
    ResponseHeaders,
    ResponseTrailers,
    Unknown,
)
from extproc.exchange.notes import Action, Fault, Unmatched
from extproc.exchange.replies import unchanged
from extproc.exchange.route import TRANSITIONS, RouteStream, State
from extproc.headers import Headers
from extproc.policy.snapshot import Policy, Snapshot, Sticky, Version

STREAMED = Protocol(BodyMode.STREAMED, send_body_without_waiting=True)
BUFFERED = Protocol(BodyMode.BUFFERED)
DUPLEX = Protocol(BodyMode.FULL_DUPLEX_STREAMED)
LIMIT = 2000

SNAPSHOT = Snapshot(
    (
        Policy("llama", models=("llama",), versions=(Version("v1"),), body_limit=LIMIT),
        Policy("new", models=("old-name",), versions=(Version("v2", model_rewrite="a-longer-name"),), body_limit=1000),
        Policy("iris", models=("iris",), versions=(Version("v1"), Version("v2")), sticky=Sticky(body=("user",))),
    )
)
CHAT = "/v1/chat/completions"
LLAMA = b'{"model":"llama","messages":[]}'
ROUTED = (("x-model-name", "llama"), ("x-model-version", "v1"))
CHAT_KNOWN, UNOWNED = (("api", "openai"), ("operation", "chat.completions")), ("cohort", "unowned")
KNOWN = (*CHAT_KNOWN, ("model", "llama"), ("policy", "llama"), ("cohort", "default"), ("version", "v1"))
LLAMA_MUTATION, PASSES = Mutation(ROUTED, (), KNOWN), HeadersReply(Mutation(metadata=(UNOWNED,)))


def head(
    path: str = CHAT, protocol: Protocol | None = STREAMED, end: bool = False, method: str = "POST", **headers: str
) -> RequestHeaders:
    pairs = [(":method", method), (":path", path), *((k.replace("_", "-"), v) for k, v in headers.items())]
    return RequestHeaders(Headers.of(pairs), end, protocol)


def play(*events: Event, snapshot: Snapshot = SNAPSHOT) -> list[Action]:
    """Everything a fresh stream does about these events."""
    stream = RouteStream(snapshot, b"entropy")
    return [action for event in events for action in stream.receive(event)]


class TestHeadSuffices:
    def test_the_path_tells_the_model(self) -> None:
        snapshot = Snapshot((Policy("iris", versions=(Version("v1"),)),))
        for protocol in (STREAMED, BUFFERED, Protocol(), None):
            reply, finish = play(head("/v2/models/iris/infer", protocol), snapshot=snapshot)
            assert isinstance(reply, HeadersReply)
            assert reply.mutation.set == (("x-model-name", "iris"), ("x-model-version", "v1"))
            assert reply.mutation.clear_route_cache
            assert finish == Finish()

    def test_a_model_that_envoy_has_read_in_the_body_suffices_too(self) -> None:
        known = RequestHeaders(head(content_length="9").headers, metadata={"body_model": "llama"})
        assert play(known) == [HeadersReply(LLAMA_MUTATION), Finish()]

    def test_no_api_passes_on_without_the_clients_routing_headers(self) -> None:
        actions = play(head("/metrics", x_gpu_pool="mine", x_model_version="v2", x_other="stays"))
        removed = Mutation(remove=("x-model-version", "x-gpu-pool"), metadata=(UNOWNED,))
        assert actions == [Unmatched("no_api"), HeadersReply(removed), Finish()]

    def test_nothing_to_change_changes_nothing(self) -> None:
        unmatched, reply, _ = play(head("/metrics", method="GET", end=True))
        assert (unmatched, reply) == (Unmatched("no_api"), PASSES)
        assert not PASSES.mutation.clear_route_cache

    def test_no_body_where_the_model_would_be(self) -> None:
        assert play(head(end=True))[0] == Unmatched("no_body")

    def test_a_policy_may_have_inference_requests_without_a_model_refused(self) -> None:
        strict = Snapshot((Policy("all", models=("*",), reject_unreadable=True),))
        assert play(head("/metrics"), snapshot=strict)[0] == Unmatched("no_api")
        codes = [(a.status, a.code) for a in play(head(end=True), snapshot=strict) if isinstance(a, Reject)]
        assert codes == [(400, "no_body")]

    @pytest.mark.parametrize("length", [str(2 * SNAPSHOT.body_limit + 1), "9" * 5000])
    def test_a_length_far_beyond_the_limit_is_refused_before_any_body(self, length: str) -> None:
        actions = play(head(content_length=length))
        assert [(a.status, a.code) for a in actions if isinstance(a, Reject)] == [(413, "request_too_large")]

    @pytest.mark.parametrize("length", ["-1", "1e99", "", "²", "0x99999999"])
    def test_a_senseless_length_is_not_believed(self, length: str) -> None:
        assert play(head(content_length=length)) == []

    def test_an_unsafe_body_mode_is_a_fault_and_passes_on(self) -> None:
        for mode in (Protocol(BodyMode.STREAMED), Protocol(BodyMode.BUFFERED_PARTIAL), Protocol(BodyMode.GRPC)):
            actions = play(head(protocol=mode, x_gpu_pool="mine"))
            removed = Mutation(remove=("x-gpu-pool",), metadata=(*CHAT_KNOWN, UNOWNED))
            assert actions == [Fault("unsafe_body_mode"), HeadersReply(removed), Finish()]


class TestStreamedWithoutWaiting:
    def test_the_answer_waits_for_the_whole_body(self) -> None:
        stream = RouteStream(SNAPSHOT, b"e")
        assert stream.receive(head()) == ()
        assert stream.receive(RequestBody(LLAMA[:9])) == ()
        assert stream.receive(RequestBody(LLAMA[9:])) == ()
        assert stream.receive(RequestBody(b"", end_of_stream=True)) == (HeadersReply(LLAMA_MUTATION), Finish())
        assert stream.state is State.DONE

    def test_what_was_read_is_there_for_who_explains_it(self) -> None:
        stream = RouteStream(SNAPSHOT, b"e")
        stream.receive(head())
        assert stream.request is None
        stream.receive(RequestBody(b'{"model":"llama","max_tokens":7}', end_of_stream=True))
        assert stream.request == InferenceRequest("openai", "chat.completions", "llama", max_tokens=7)

    def test_the_length_tells_the_end_before_envoy_does(self) -> None:
        stream = RouteStream(SNAPSHOT, b"e")
        assert stream.receive(head(content_length=str(len(LLAMA)))) == ()
        assert stream.receive(RequestBody(LLAMA[:9])) == ()
        assert stream.receive(RequestBody(LLAMA[9:])) == (HeadersReply(LLAMA_MUTATION), Finish())

    def test_a_second_model_is_found_wherever_it_stands(self) -> None:
        first, second = RequestBody(b'{"model":"llama",'), RequestBody(b'"model":"old-name"}', end_of_stream=True)
        reject, finish = play(head(), first, second)
        assert isinstance(reject, Reject)
        assert (reject.status, reject.code, finish) == (400, "duplicate_model", Finish())
        assert reject.metadata == CHAT_KNOWN

    def test_spoofed_headers_are_overwritten_or_removed(self) -> None:
        spoofed = head(x_model_version="v9", x_gpu_pool="mine", x_gateway_destination_endpoint="10.0.0.9:1")
        reply, _ = play(spoofed, RequestBody(LLAMA, end_of_stream=True))
        expected = Mutation(ROUTED, ("x-gpu-pool", "x-gateway-destination-endpoint"), KNOWN)
        assert reply == HeadersReply(expected)

    def test_a_body_that_says_nothing_passes_on_untouched(self) -> None:
        actions = play(head(x_model_name="mine"), RequestBody(b"not json", end_of_stream=True))
        cleaned = Mutation(remove=("x-model-name",), metadata=(*CHAT_KNOWN, UNOWNED))
        assert actions == [Unmatched("bad_json"), HeadersReply(cleaned), Finish()]

    def test_a_model_that_nobody_owns_passes_on_untouched(self) -> None:
        actions = play(head(x_model_name="mine"), RequestBody(b'{"model":"x"}', end_of_stream=True))
        cleaned = Mutation(remove=("x-model-name",), metadata=(*CHAT_KNOWN, ("model", "x"), UNOWNED))
        assert actions == [Unmatched("no_policy"), HeadersReply(cleaned), Finish()]

    @pytest.mark.parametrize("pieces", [1, 2, 7])
    def test_the_limit_is_to_the_byte(self, pieces: int) -> None:
        def send(size: int) -> list[Action]:
            body = LLAMA + b" " * (size - len(LLAMA))
            step = -(-size // pieces)
            chunks = [body[at : at + step] for at in range(0, size, step)]
            return play(head(), *(RequestBody(c, c is chunks[-1]) for c in chunks), snapshot=snapshot)

        snapshot = Snapshot((Policy("llama", versions=(Version("v1"),), body_limit=LIMIT),))
        assert isinstance(send(LIMIT)[0], HeadersReply)
        assert isinstance(send(LIMIT + 1)[0], Reject)

    def test_each_policy_has_its_own_limit(self) -> None:
        body = b'{"model":"old-name"' + b" " * 1000 + b"}"
        reject = play(head(), RequestBody(body, end_of_stream=True))[0]
        assert isinstance(reject, Reject)
        assert (reject.status, dict(reject.metadata)["policy"]) == (413, "new")

    def test_trailers_complete_the_body(self) -> None:
        actions = play(head(), RequestBody(LLAMA), RequestTrailers())
        assert actions == [HeadersReply(LLAMA_MUTATION), Finish()]

    def test_nothing_is_kept_of_a_request_that_left(self) -> None:
        stream = RouteStream(SNAPSHOT, b"e")
        stream.receive(head())
        stream.receive(RequestBody(LLAMA))
        assert stream.receive(Closed()) == ()
        assert stream.state is State.DONE


class TestRewrite:
    BODY = b'{"messages":[],"model":"old-name","stream":true}'
    REWRITTEN = b'{"messages":[],"model":"a-longer-name","stream":true}'

    @given(cuts=st.lists(st.integers(0, len(BODY)), max_size=6))
    def test_streamed_pieces_add_up_to_the_rewritten_body(self, cuts: list[int]) -> None:
        at = [0, *sorted(cuts), len(self.BODY)]
        chunks = [self.BODY[a:b] for a, b in pairwise(at)]
        events = [RequestBody(c) for c in chunks] + [RequestBody(b"", end_of_stream=True)]
        reply, *bodies, finish = play(head(content_length=str(len(self.BODY))), *events)
        assert isinstance(reply, HeadersReply)
        assert ("content-length", str(len(self.REWRITTEN))) in reply.mutation.set
        assert finish == Finish()
        # What Envoy does: replies replace pieces in order, the rest passes as it came.
        out = []
        for chunk, body in zip(chunks, bodies, strict=False):
            assert isinstance(body, BodyReply)
            out.append(chunk if body.body is None else body.body)
        assert b"".join([*out, *chunks[len(bodies) :]]) == self.REWRITTEN

    def test_without_a_length_none_is_made_up(self) -> None:
        reply = play(head(), RequestBody(self.BODY, end_of_stream=True))[0]
        assert isinstance(reply, HeadersReply)
        assert "content-length" not in dict(reply.mutation.set)

    def test_buffered(self) -> None:
        begun = head(protocol=BUFFERED, content_length=str(len(self.BODY)))
        _, reply, finish = play(begun, RequestBody(self.BODY, end_of_stream=True))
        assert isinstance(reply, BodyReply)
        assert reply.body == self.REWRITTEN
        assert ("content-length", str(len(self.REWRITTEN))) in reply.mutation.set
        assert finish == Finish()

    def test_full_duplex(self) -> None:
        reply, *echoes, _ = play(head(protocol=DUPLEX), RequestBody(self.BODY, end_of_stream=True))
        assert isinstance(reply, HeadersReply)
        assert echoes == [BodyEcho(self.REWRITTEN, end_of_stream=True)]


class TestBuffered:
    @pytest.mark.parametrize("protocol", [BUFFERED, None])
    @pytest.mark.parametrize("end", [True, False])
    def test_the_reply_to_the_body_decides(self, protocol: Protocol | None, end: bool) -> None:
        actions = play(head(protocol=protocol), RequestBody(LLAMA, end_of_stream=end))
        assert actions == [HeadersReply(), BodyReply(LLAMA_MUTATION), Finish()]

    def test_the_body_is_asked_for_where_none_is_sent(self) -> None:
        actions = play(head(protocol=Protocol()), RequestBody(LLAMA, end_of_stream=True))
        assert actions == [HeadersReply(body_mode=BodyMode.BUFFERED), BodyReply(LLAMA_MUTATION), Finish()]

    def test_too_large(self) -> None:
        snapshot = Snapshot((Policy("llama", body_limit=LIMIT),))
        body = RequestBody(b" " * (LIMIT + 1), end_of_stream=True)
        actions = play(head(protocol=BUFFERED), body, snapshot=snapshot)
        assert [a.status for a in actions if isinstance(a, Reject)] == [413]


class TestFullDuplex:
    def test_every_byte_comes_back_in_order_after_the_headers(self) -> None:
        snapshot = Snapshot((Policy("llama", versions=(Version("v1"),)),))
        body = b'{"model":"llama","x":"' + bytes(range(35, 91)) * 4000 + b'"}'
        pieces = [RequestBody(body[at : at + 70_001]) for at in range(0, len(body), 70_001)]
        events: list[Event] = [head(protocol=DUPLEX), *pieces, RequestBody(b"", end_of_stream=True)]
        reply, *echoes, finish = play(*events, snapshot=snapshot)
        assert isinstance(reply, HeadersReply)
        assert finish == Finish()
        assert [e.end_of_stream for e in echoes if isinstance(e, BodyEcho)] == [False] * (len(echoes) - 1) + [True]
        assert b"".join(e.data for e in echoes if isinstance(e, BodyEcho)) == body
        assert max(len(e.data) for e in echoes if isinstance(e, BodyEcho)) <= 62_000

    def test_trailers_end_the_request_instead_of_the_body(self) -> None:
        actions = play(head(protocol=DUPLEX), RequestBody(LLAMA), RequestTrailers())
        echo = BodyEcho(LLAMA, end_of_stream=False)
        assert actions == [HeadersReply(LLAMA_MUTATION), echo, TrailersReply(), Finish()]

    def test_a_body_that_was_not_needed_is_echoed_as_it_comes(self) -> None:
        stream = RouteStream(SNAPSHOT, b"e")
        assert stream.receive(head("/upload", DUPLEX)) == (Unmatched("no_api"), PASSES)
        assert stream.receive(RequestBody(b"a")) == (BodyEcho(b"a", end_of_stream=False),)
        last, echo = RequestBody(b"b", end_of_stream=True), BodyEcho(b"b", end_of_stream=True)
        assert stream.receive(last) == (echo, Finish())


class TestGrpc:
    INFER = "/inference.GRPCInferenceService/ModelInfer"
    FRAME = b"\0\0\0\0\x07\x0a\x05llama"

    @pytest.mark.parametrize("protocol", [STREAMED, DUPLEX])
    def test_the_first_message_decides_and_the_rest_is_not_waited_for(self, protocol: Protocol) -> None:
        stream = RouteStream(SNAPSHOT, b"e")
        assert stream.receive(head(self.INFER, protocol, content_type="application/grpc")) == ()
        assert stream.receive(RequestBody(self.FRAME[:9])) == ()
        reply, after = stream.receive(RequestBody(self.FRAME[9:]))
        assert isinstance(reply, HeadersReply)
        assert reply.mutation.set == ROUTED
        assert after == (Finish() if protocol is STREAMED else BodyEcho(self.FRAME, end_of_stream=False))
        assert stream.state is (State.DONE if protocol is STREAMED else State.ECHO)


class TestStickyBodyKey:
    def test_the_body_is_read_for_the_key_though_the_path_tells_the_model(self) -> None:
        def version(user: str) -> str:
            body = json.dumps({"user": user, "inputs": []}).encode()
            reply = play(head("/v2/models/iris/infer"), RequestBody(body, end_of_stream=True))[0]
            assert isinstance(reply, HeadersReply)
            assert ("cohort", "sticky") in reply.mutation.metadata
            return dict(reply.mutation.set)["x-model-version"]

        users = [f"user-{n}" for n in range(40)]
        assert [version(u) for u in users] == [version(u) for u in users]
        assert {version(u) for u in users} == {"v1", "v2"}

    @pytest.mark.parametrize("body", [b"", b"\x00tensor", b"[1]", b'{"user":{}}'])
    def test_without_a_key_the_request_is_drawn(self, body: bytes) -> None:
        reply = play(head("/v2/models/iris/infer"), RequestBody(body, end_of_stream=True))[0]
        assert isinstance(reply, HeadersReply)
        assert ("cohort", "weight") in reply.mutation.metadata

    def test_a_request_without_a_body_is_decided_at_once(self) -> None:
        reply = play(head("/v2/models/iris/infer", end=True))[0]
        assert isinstance(reply, HeadersReply)
        assert reply.mutation.set


# Every event in every state.

SAMPLES: dict[type[Event], Event] = {
    RequestHeaders: head("/v2/models/llama/infer"),
    RequestBody: RequestBody(LLAMA, end_of_stream=True),
    RequestTrailers: RequestTrailers(),
    ResponseHeaders: ResponseHeaders(Headers.of([(":status", "200")])),
    ResponseBody: ResponseBody(b"x"),
    ResponseTrailers: ResponseTrailers(),
    Unknown: Unknown(),
    Closed: Closed(),
}
INTO: dict[State, tuple[Event, ...]] = {
    State.HEAD: (),
    State.BODY: (head(x_gpu_pool="mine"),),
    State.ECHO: (head("/upload", DUPLEX),),
    State.DONE: (head("/metrics"),),
}
LEGAL: dict[tuple[State, type[Event]], tuple[Action, ...] | None] = {
    (State.HEAD, RequestHeaders): None,  # see the tests above
    (State.HEAD, Closed): (),
    (State.BODY, RequestBody): None,
    (State.BODY, RequestTrailers): None,
    (State.BODY, Closed): (),
    (State.ECHO, RequestBody): (BodyEcho(LLAMA, end_of_stream=True), Finish()),
    (State.ECHO, RequestTrailers): (TrailersReply(), Finish()),
    (State.ECHO, Closed): (),
    (State.DONE, RequestBody): (),
    (State.DONE, RequestTrailers): (),
    (State.DONE, Closed): (),
}


def test_the_table_names_every_state_and_event() -> None:
    assert set(TRANSITIONS) == {(state, kind) for state in State for kind in KINDS}
    assert set(SAMPLES) == set(KINDS)


@pytest.mark.parametrize("kind", KINDS, ids=lambda k: k.kind)
@pytest.mark.parametrize("state", State, ids=lambda s: s.name)
def test_every_event_in_every_state(state: State, kind: type[Event]) -> None:
    stream = RouteStream(SNAPSHOT, b"e")
    for event in INTO[state]:
        stream.receive(event)
    assert stream.state is state
    actions = stream.receive(SAMPLES[kind])
    if (state, kind) in LEGAL:
        assert not [a for a in actions if isinstance(a, Fault)]
        expected = LEGAL[state, kind]
        assert expected is None or actions == expected
    elif state is State.DONE:
        assert actions == (Fault("late_" + kind.kind),)
    else:
        # Envoy must not wait for a reply that was held back: it comes now, without the spoofed header.
        cleaned = Mutation(remove=("x-gpu-pool",), metadata=(*CHAT_KNOWN, UNOWNED))
        held_back = (HeadersReply(cleaned),) if state is State.BODY else ()
        assert actions == (Fault("unexpected_" + kind.kind), *held_back, *unchanged(SAMPLES[kind]), Finish())
        assert stream.state is State.DONE


EVENTS: Any = st.one_of(
    st.sampled_from(list(SAMPLES.values())),
    st.builds(RequestBody, st.binary(max_size=30) | st.just(LLAMA) | st.just(b" " * LIMIT), st.booleans()),
    st.builds(
        head,
        st.sampled_from([CHAT, "/v2/models/iris/infer", "/x", ""]),
        st.sampled_from([None, *(Protocol(mode, waits) for mode in BodyMode for waits in (False, True))]),
        st.booleans(),
        st.sampled_from(["POST", "GET", ""]),
    ),
)


@given(st.lists(EVENTS, max_size=8))
def test_any_conversation_ends_cleanly(events: list[Event]) -> None:
    stream, finished = RouteStream(SNAPSHOT, b"e"), False
    for event in [*events, Closed()]:
        actions = stream.receive(event)
        if finished:
            assert all(isinstance(a, Fault) for a in actions)
        assert Finish() not in actions[:-1]
        finished = finished or Finish() in actions
        assert finished <= (stream.state is State.DONE)
    assert stream.state is State.DONE
    assert stream.receive(Closed()) == ()

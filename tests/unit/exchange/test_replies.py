"""The replies that take working out: echoes, bodies in pieces, mutations, and what changes nothing."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from extproc.bodies.request import BodyEdit, InferenceRequest
from extproc.envoy.actions import BodyEcho, BodyReply, HeadersReply, Mutation, Reply, ResponseReply, TrailersReply
from extproc.envoy.events import (
    Closed,
    Event,
    RequestBody,
    RequestHeaders,
    RequestTrailers,
    ResponseBody,
    ResponseHeaders,
    ResponseTrailers,
)
from extproc.exchange.replies import (
    ECHO_LIMIT,
    client_copies,
    echo,
    mutation_of,
    replaced,
    routing_mutation,
    unchanged,
)
from extproc.headers import Headers
from extproc.policy.decision import Decision
from extproc.policy.snapshot import Policy


@given(st.integers(0, 3 * ECHO_LIMIT), st.booleans())
def test_an_echo_is_the_body_in_pieces_that_fit(size: int, end: bool) -> None:
    body = bytes(size)
    pieces = [a for a in echo(body, end_of_stream=end) if isinstance(a, BodyEcho)]
    assert b"".join(p.data for p in pieces) == body
    assert [p.end_of_stream for p in pieces] == [False] * (len(pieces) - 1) + [end]
    assert all(len(p.data) <= ECHO_LIMIT for p in pieces)


@pytest.mark.parametrize(
    ("size", "pieces"), [(0, [0]), (1, [1]), (62_000, [62_000]), (62_001, [62_000, 1]), (124_000, [62_000, 62_000])]
)
def test_an_echo_has_no_more_pieces_than_it_needs(size: int, pieces: list[int]) -> None:
    """62,000 bytes are what the reference implementation of the Endpoint Picker Protocol sends at a time."""
    assert [len(a.data) for a in echo(bytes(size), end_of_stream=True) if isinstance(a, BodyEcho)] == pieces


@given(st.lists(st.binary(max_size=5), max_size=8), st.data())
def test_replaced_pieces_make_the_spliced_body(chunks: list[bytes], data: st.DataObject) -> None:
    body = b"".join(chunks)
    start = data.draw(st.integers(0, len(body)))
    # A model name is never empty, so neither is what is replaced.
    end = data.draw(st.integers(start, len(body)))
    if start == end:
        return
    splice = BodyEdit(start, end, data.draw(st.binary(max_size=7)))
    replies = replaced([len(c) for c in chunks], body, splice)
    out = [c if r.body is None else r.body for c, r in zip(chunks, replies, strict=False) if isinstance(r, BodyReply)]
    assert b"".join([*out, *chunks[len(replies) :]]) == splice.apply(body)
    # No reply beyond the last piece that changes: Envoy passes on the rest by itself.
    assert sum(map(len, chunks[: len(replies) - 1])) < end


def test_pieces_without_a_change_pass_on_as_they_came() -> None:
    replies = replaced([2, 2, 2, 2], b"abcdefgh", BodyEdit(4, 6, b"new"))
    assert replies == (BodyReply(), BodyReply(), BodyReply(body=b"new"))
    assert replaced([4, 4], b"abcdefgh", BodyEdit(3, 5, b"new")) == (BodyReply(body=b"abcnew"), BodyReply(body=b"fgh"))


@pytest.mark.parametrize(
    ("event", "replies"),
    [
        (RequestHeaders(Headers()), (HeadersReply(),)),
        (RequestBody(b"x"), (BodyReply(),)),
        (RequestTrailers(), (TrailersReply(request=True),)),
        (ResponseHeaders(Headers()), (ResponseReply(body=False),)),
        (ResponseBody(b"x"), (ResponseReply(body=True),)),
        (ResponseTrailers(), (TrailersReply(request=False),)),
        (Closed(), ()),
    ],
)
def test_each_event_has_a_reply_of_its_kind_that_changes_nothing(event: Event, replies: tuple[Reply, ...]) -> None:
    assert unchanged(event) == replies


def test_client_copies_are_the_routing_headers_that_would_survive() -> None:
    headers = Headers.of([("X-Model-Version", "v9"), ("x-gpu-pool", "mine"), ("x-user-id", "ann")])
    assert client_copies(headers) == ("x-model-version", "x-gpu-pool")
    assert client_copies(headers, [("x-model-version", "v1")]) == ("x-gpu-pool",)
    assert client_copies(Headers()) == ()


def decision(model_rewrite: str = "") -> Decision:
    request = InferenceRequest("openai", "completions", "llama")
    return Decision(request, Policy("chat"), "*", "v1", "pin", model_rewrite=model_rewrite)


SET = (("x-model-name", "llama"), ("x-model-version", "v1"))
METADATA = (
    *(("api", "openai"), ("operation", "completions"), ("model", "llama")),
    *(("policy", "chat"), ("cohort", "pin"), ("version", "v1")),
)


def in_the_path(model: str) -> tuple[str, str]:
    return ":path", f"/models/{model}"


@pytest.mark.parametrize(
    ("rewrite", "named_in_head", "more"),
    [("", False, ()), ("", True, ()), ("new", False, ()), ("new", True, ((":path", "/models/new"),))],
)
@pytest.mark.parametrize("copies", [(), ("x-gpu-pool",)])
def test_a_decision_sets_headers_and_removes_those_of_the_client(
    rewrite: str, named_in_head: bool, more: tuple[tuple[str, str], ...], copies: tuple[str, ...]
) -> None:
    headers = Headers.of([(name, "mine") for name in ("x-model-name", *copies)])
    found = routing_mutation(decision(rewrite), headers, in_the_path if named_in_head else None)
    assert found == Mutation((*SET, *more), copies, METADATA)


def test_equal_decisions_share_one_mutation() -> None:
    assert mutation_of(decision()) is mutation_of(decision())
    assert routing_mutation(decision(), Headers(), None) is mutation_of(decision())

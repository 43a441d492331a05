"""The observer: what it notes of one exchange, in whatever order the messages come."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from extproc.actions import Action, Finish, Observed
from extproc.events import (
    Closed,
    Event,
    RequestBody,
    RequestHeaders,
    RequestTrailers,
    ResponseBody,
    ResponseHeaders,
    ResponseTrailers,
    Unknown,
)
from extproc.gpu import Gpu
from extproc.headers import Headers
from extproc.observe import ObserveStream
from extproc.view import Policy, Pool, Version, View

VIEW = View((Policy("llama", models=("llama-*",), versions=(Version("v1"), Version("v2"))),), (Pool("west", Gpu()),))
ROUTED = {"api": "openai", "model": "llama-3", "policy": "llama", "version": "v1", "gpu_pool": "west"}


def request(**metadata: str) -> RequestHeaders:
    return RequestHeaders(Headers.of([(":method", "POST")]), metadata=metadata or ROUTED)


def response(status: str = "200", end: bool = False, **metadata: str) -> ResponseHeaders:
    return ResponseHeaders(Headers.of([(":status", status)]), end, metadata)


def watch(*events: Event, view: View = VIEW) -> list[Action]:
    """One second passes between two events."""
    stream = ObserveStream(view)
    return [action for now, event in enumerate(events) for action in stream.receive(event, float(now))]


@pytest.mark.parametrize(
    ("head", "caller"),
    [
        (RequestHeaders(Headers.of([("l5d-client-id", "b.shop")]), metadata=ROUTED, peer="spiffe://a"), "spiffe://a"),
        (RequestHeaders(Headers.of([("l5d-client-id", "b.shop")]), metadata=ROUTED), "b.shop"),
        (RequestHeaders(Headers(), metadata=ROUTED, peer="x" * 10_000), "x" * 256),
        (request(), ""),
    ],
)
def test_who_asked(head: RequestHeaders, caller: str) -> None:
    (note, _) = watch(head, response(end=True))
    assert isinstance(note, Observed)
    assert note.caller == caller


@pytest.mark.parametrize(
    ("events", "seconds"),
    [
        ([request(), response(), ResponseBody(b"a"), ResponseBody(b"", end_of_stream=True)], 3.0),
        ([request(), response(), ResponseBody(b"a", end_of_stream=True)], 2.0),
        ([request(), response(end=True)], 1.0),
        ([request(), response(), ResponseBody(b"a"), ResponseTrailers()], 3.0),
        ([request(), response("100"), response(), ResponseBody(b"", end_of_stream=True)], 3.0),
    ],
)
def test_an_exchange_is_noted_once_at_its_end(events: list[Event], seconds: float) -> None:
    actions = watch(*events, ResponseBody(b"late"), Closed())
    known = Observed("llama-*", "v1", "west", "openai", "200", seconds, policy="llama", asked="llama-3")
    assert actions == [known, Finish()]


def test_what_spans_are_made_of_goes_along() -> None:
    head = RequestHeaders(
        Headers.of([("traceparent", "00-a")]), metadata=ROUTED | {"cohort": "pin", "operation": "o", "model": "m" * 999}
    )
    observed, _ = watch(head, response(end=True))
    assert isinstance(observed, Observed)
    assert (observed.traceparent, observed.cohort, observed.operation, observed.asked) == (
        "00-a",
        "pin",
        "o",
        "m" * 256,
    )


def test_a_refusal_of_the_route_filter_shows_without_a_request() -> None:
    actions = watch(response("413", api="openai"), ResponseBody(b"{}", end_of_stream=True))
    assert actions == [Observed("other", "none", "none", "openai", "413", None), Finish()]


@pytest.mark.parametrize(
    ("events", "code"),
    [([request()], "0"), ([request(), response()], "200"), ([request(), response(), ResponseBody(b"x")], "200")],
)
def test_a_client_that_leaves_is_noted(events: list[Event], code: str) -> None:
    (observed,) = watch(*events, Closed())
    assert isinstance(observed, Observed)
    assert observed.code == code


def test_nothing_is_noted_of_nothing() -> None:
    assert watch(Closed()) == []
    assert watch(RequestBody(b""), RequestTrailers(), Unknown(), Closed()) == []


@pytest.mark.parametrize(
    ("metadata", "labels"),
    [
        ({}, ("other", "none", "none", "none")),
        ({"api": "openai"}, ("other", "none", "none", "openai")),
        ({"api": "openai", "model": "mistral"}, ("other", "none", "none", "openai")),
        ({**ROUTED, "version": "made-up"}, ("llama-*", "other", "west", "openai")),
        ({**ROUTED, "gpu_pool": "made-up"}, ("llama-*", "v1", "other", "openai")),
        ({**ROUTED, "api": "made-up"}, ("llama-*", "v1", "west", "other")),
        ({**ROUTED, "policy": "made-up"}, ("other", "none", "west", "openai")),
    ],
)
def test_label_values_come_from_the_policy(metadata: dict[str, str], labels: tuple[str, ...]) -> None:
    (observed, _) = watch(RequestHeaders(Headers(), metadata=metadata), response(end=True))
    assert isinstance(observed, Observed)
    assert (observed.model, observed.version, observed.gpu_pool, observed.api) == labels


def test_without_a_policy_all_is_other() -> None:
    (observed, _) = watch(request(), response(end=True), view=View())
    assert isinstance(observed, Observed)
    assert (observed.model, observed.version, observed.gpu_pool) == ("other", "none", "other")


EVENTS: Any = st.sampled_from(
    [
        request(),
        response(),
        response("503", end=True),
        response(""),
        RequestBody(b"", end_of_stream=True),
        RequestTrailers(),
        ResponseBody(b"x"),
        ResponseBody(b"", end_of_stream=True),
        ResponseTrailers(),
        Unknown(),
        Closed(),
    ]
)


@given(st.lists(EVENTS, max_size=10))
def test_any_order_is_noted_at_most_once(events: list[Event]) -> None:
    actions = watch(*events, Closed())
    assert sum(isinstance(a, Observed) for a in actions) <= 1
    if any(isinstance(e, RequestHeaders) for e in events[:1]):
        assert sum(isinstance(a, Observed) for a in actions) == 1

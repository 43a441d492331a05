"""The observer: what it notes of one exchange, in whatever order the messages come."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from extproc.envoy.actions import Finish
from extproc.envoy.events import (
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
from extproc.exchange.notes import Action, CustomSample, Fault, LoadReport, Observed
from extproc.exchange.observe import DEFERRED_CLOSE_TIMEOUT, ObserveStream
from extproc.headers import Headers
from extproc.policy.custom_metric import OUTPUT_TOKENS, SECONDS, CustomMetric, Source
from extproc.policy.gpu import Gpu
from extproc.policy.pool_load import ServerLoad
from extproc.policy.snapshot import GpuPool, Policy, Snapshot, Version

SNAPSHOT = Snapshot(
    (Policy("llama", models=("llama-*",), versions=(Version("v1"), Version("v2"))),), (GpuPool("west", Gpu()),)
)
ROUTED = {"api": "openai", "model": "llama-3", "policy": "llama", "version": "v1", "gpu_pool": "west"}


def request(**metadata: str) -> RequestHeaders:
    return RequestHeaders(Headers.of([(":method", "POST")]), metadata=metadata or ROUTED)


def response(status: str = "200", end: bool = False, **metadata: str) -> ResponseHeaders:
    return ResponseHeaders(Headers.of([(":status", status)]), end, metadata)


def watch(*events: Event, snapshot: Snapshot = SNAPSHOT) -> list[Action]:
    """One second passes between two events."""
    stream = ObserveStream(snapshot)
    return [action for now, event in enumerate(events) for action in stream.receive(event, float(now))]


@pytest.mark.parametrize(
    ("head", "caller"),
    [
        (RequestHeaders(Headers.of([("l5d-client-id", "b.shop")]), metadata=ROUTED, peer="spiffe://a"), "spiffe://a"),
        (RequestHeaders(Headers.of([("l5d-client-id", "b.shop")]), metadata=ROUTED), "b.shop"),
        (RequestHeaders(Headers(), metadata=ROUTED, peer="x" * 10_000), "x" * 256),
        (RequestHeaders(Headers.of([("l5d-client-id", "y" * 257)]), metadata=ROUTED), "y" * 256),
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
        Headers.of([("traceparent", "00-a")]),
        metadata=ROUTED | {"cohort": "pin", "operation": "o", "model": "m" * 999, "user": "a1"},
    )
    observed, _ = watch(head, response(end=True))
    assert isinstance(observed, Observed)
    assert observed.user == "a1"
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
    assert watch(Closed(), request(), response(end=True)) == [], "nothing comes after the end"


def test_without_a_policy_all_is_other() -> None:
    (observed, _) = watch(request(), response(end=True), snapshot=Snapshot())
    assert isinstance(observed, Observed)
    assert (observed.model, observed.version, observed.gpu_pool) == ("other", "none", "other")


HITS, ALL = Source(header="x-hits"), Source(body=("features", "all"))
RATIO = CustomMetric("ratio", "GAUGE", ("model_version", "gpu_type"), HITS, ALL)
RATE = CustomMetric("rate", "GAUGE", (), OUTPUT_TOKENS, SECONDS)


def asking(*, api: str, operation: str, kind: str, **more: str) -> list[Event]:
    """A request of a policy that asks for these metrics, and the head of its answer."""
    headers = Headers.of([(":status", "200"), ("content-type", kind), *more.items()])
    return [request(**ROUTED | {"api": api, "operation": operation}), ResponseHeaders(headers)]


def with_metrics(*metrics: CustomMetric) -> Snapshot:
    policy = Policy("llama", models=("llama-*",), versions=(Version("v1"),), custom_metrics=metrics)
    return Snapshot((policy,), (GpuPool("west", Gpu(architecture="a100")),))


@pytest.mark.parametrize(
    ("api", "operation", "kind", "body"),
    [
        ("kserve", "predict", "application/json", [b'{"predictions": [1], "features": {"al', b'l": 8}}']),
        ("openai", "chat.completions", "application/json", [b'{"features": {"all": 8}}']),
        (
            *("openai", "chat.completions", "text/event-stream"),
            [b'data: {"features": {"all": 2}}\n\ndata: {"feat', b'ures": {"all": 8}}\n\ndata: [DONE]\n\n'],
        ),
        ("oip", "infer", "text/event-stream", [b'data: {"features": {"all": 8}}\n\n']),
    ],
)
def test_what_the_policys_metrics_are_made_of(api: str, operation: str, kind: str, body: list[bytes]) -> None:
    events = [*asking(api=api, operation=operation, kind=kind, **{"x-hits": "6"}), *map(ResponseBody, body)]
    notes = watch(*events, ResponseBody(b"", end_of_stream=True), snapshot=with_metrics(RATIO, RATE))
    observed, measured = (note for note in notes if isinstance(note, Observed | CustomSample))
    assert isinstance(observed, Observed)
    assert not observed.error
    assert measured == CustomSample(RATIO, ("v1", "a100"), 6.0, 8.0), "the rate needs tokens, and there are none"


@pytest.mark.parametrize(
    ("value", "pool", "end", "wanted"),
    [
        ("TEXT kv_cache_usage_perc=0.5", "west", False, [LoadReport("west", ServerLoad(None, 0.5))]),
        ("TEXT kv_cache_usage_perc=0.5", "west", True, [LoadReport("west", ServerLoad(None, 0.5))]),
        ("TEXT kv_cache_usage_perc=0.5", "made-up", False, []),
        ("nonsense", "west", True, []),
    ],
)
def test_a_server_tells_its_load_with_the_answers_head(value: str, pool: str, end: bool, wanted: list[Action]) -> None:
    head = ResponseHeaders(Headers.of([(":status", "200"), ("endpoint-load-metrics", value)]), end)
    actions = watch(request(**ROUTED | {"gpu_pool": pool}), head)
    assert [action for action in actions if isinstance(action, LoadReport)] == wanted
    assert any(isinstance(action, Observed) for action in actions) is end


def test_tokens_make_a_rate() -> None:
    body = b'{"usage": {"prompt_tokens": 5, "completion_tokens": 7}}'
    head = asking(api="openai", operation="chat.completions", kind="application/json")
    notes = watch(*head, ResponseBody(body, end_of_stream=True), snapshot=with_metrics(RATIO, RATE))
    assert [note for note in notes if isinstance(note, CustomSample)] == [CustomSample(RATE, (), 7.0, 0.0)]


def test_an_answer_of_an_api_that_nobody_knows_is_read_only_where_a_metric_asks() -> None:
    head = asking(api="kserve", operation="predict", kind="application/json")
    for metrics, read in (((RATE,), False), ((RATIO,), True)):
        stream = ObserveStream(with_metrics(*metrics))
        for event in head:
            stream.receive(event, 0.0)
        assert (stream._reader is not None) is read


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


CHAT = {**ROUTED, "operation": "chat.completions"}
TOKEN = b'data: {"choices":[{"delta":{"content":"x"}}]}\n\n'
ROLE = b'data: {"choices":[{"delta":{"role":"assistant","content":""}}]}\n\n'
USAGE = b'data: {"choices":[],"usage":{"prompt_tokens":9,"completion_tokens":11}}\n\n'
DONE = b"data: [DONE]\n\n"
near: Any = pytest.approx


def head(kind: str = "text/event-stream", status: str = "200", **more: str) -> ResponseHeaders:
    named = {":status": status, "content-type": kind} | {name.replace("_", "-"): text for name, text in more.items()}
    return ResponseHeaders(Headers.of(named.items()))


def timed(*events: tuple[float, Event], snapshot: Snapshot = SNAPSHOT, **metadata: str) -> Observed:
    """What is noted, by (when, what), of an exchange that began at 100 s."""
    stream = ObserveStream(snapshot)
    stream.receive(RequestHeaders(Headers(), metadata=metadata or CHAT), 100.0)
    actions = [action for now, event in events for action in stream.receive(event, 100 + now)]
    (found,) = (action for action in actions if isinstance(action, Observed))
    return found


def body(data: bytes, end: bool = False) -> ResponseBody:
    return ResponseBody(data, end)


STREAM = [(0.2, body(b": ping\n\n")), (0.3, body(ROLE)), (0.5, body(TOKEN)), (0.7, body(TOKEN * 2))]


def test_times_of_tokens() -> None:
    found = timed((0.1, head()), *STREAM, (1.0, body(TOKEN)), (1.5, body(USAGE + DONE)))
    assert (found.first_token, found.seconds) == (near(0.5), near(1.5))
    assert found.per_token == near((1.0 - 0.5) / 10)
    assert (found.input_tokens, found.output_tokens, found.cached_tokens) == (9, 11, None)
    assert (found.streamed, found.estimated, found.error, found.operation) == (True, False, "", "chat.completions")


def test_tokens_that_nobody_tells_are_counted() -> None:
    found = timed((0.1, head()), *STREAM, (1.1, body(TOKEN + DONE)))
    assert (found.output_tokens, found.estimated, found.input_tokens) == (4, True, None)
    assert found.per_token == near((1.1 - 0.5) / 3)


@pytest.mark.parametrize("sent", [TOKEN, TOKEN * 5])
def test_what_comes_in_one_piece_has_no_pace(sent: bytes) -> None:
    found = timed((0.1, head()), (0.5, body(sent)), (0.9, body(USAGE + DONE)))
    assert (found.first_token, found.per_token) == (near(0.5), None)


@pytest.mark.parametrize(
    ("told", "began"),
    [
        ("route;dur=3, upstream;dur=92, total;dur=95", -0.0005 + 0.005),
        ("total;dur=95;desc=all", 0.0045),
        ("total;dur=0", 0.1 - 0.0005),
        ("total;dur=999999999", 0.1 - 999_999.9995),
        ("total;dur=1000000000", 0.0),
        ("total;dur=99999999999", 0.0),
        ("route;dur=2, upstream;dur=, total;dur=", 0.0),
        ("total;dur=x95", 0.0),
        ("", 0.0),
    ],
)
def test_envoy_tells_when_the_request_began(told: str, began: float) -> None:
    found = timed((0.1, head(server_timing=told)), (0.5, body(TOKEN)), (0.9, body(DONE)))
    assert found.first_token == near(0.5 - began)
    assert found.seconds == near(0.9 - began)


def test_the_stream_is_left_with_the_last_mark() -> None:
    stream = ObserveStream(SNAPSHOT)
    stream.receive(RequestHeaders(Headers(), metadata=CHAT), 0.0)
    stream.receive(head(), 0.1)
    assert stream.receive(body(TOKEN), 0.2) == ()
    *_, finish = stream.receive(body(DONE), 0.3)
    assert finish == Finish()
    assert stream.receive(body(b"", end=True), 0.4) == ()
    assert stream.receive(Closed(), 0.4) == ()
    assert stream.abandon() == ()


@pytest.mark.parametrize(
    ("events", "error"),
    [
        ([(0.5, body(TOKEN)), (0.9, body(b'data: {"error":{"message":"no"}}\n\n'))], "error_in_stream"),
        ([(0.5, body(TOKEN)), (0.9, body(b'data: {"error":{"code":400,"message":"no"}}\n\n'))], "client_error"),
        ([(0.5, body(TOKEN)), (0.9, body(TOKEN, end=True))], "cut_short"),
        ([(0.9, body(b"", end=True))], "cut_short"),
        ([(0.5, body(TOKEN)), (0.9, body(DONE, end=True))], ""),
        ([(0.5, body(TOKEN)), (0.9, body(DONE[:-2], end=True))], ""),
        ([(0.9, body(TOKEN)), (1.9, Closed())], "client_left"),
    ],
)
def test_failures_that_no_status_tells(events: list[tuple[float, Event]], error: str) -> None:
    found = timed((0.1, head()), *events)
    assert (found.code, found.error, found.seconds) == ("200", error, near(0.9))


def test_a_client_that_leaves_before_an_answer_has_waited_until_then() -> None:
    assert DEFERRED_CLOSE_TIMEOUT == 1.0  # Envoy's configuration has it too
    left = timed((30 + 1, Closed()))
    assert (left.code, left.error, left.seconds) == ("0", "client_left", near(30))


@pytest.mark.parametrize(
    ("status", "error"),
    [("0", ""), ("14", "error_in_stream"), ("3", "client_error"), ("99", "error_in_stream"), ("", "")],
)
def test_grpc_tells_how_it_ended_in_trailers(status: str, error: str) -> None:
    trailers = ResponseTrailers(Headers.of([("grpc-status", status)]))
    found = timed((0.1, head("application/grpc")), (0.2, body(b"\0\0\0\0\0")), (0.3, trailers))
    assert found.error == error
    alone = ResponseHeaders(Headers.of([(":status", "200"), ("grpc-status", status)]), True)
    assert timed((0.1, alone)).error == error


def test_a_document_has_tokens_and_no_first_one() -> None:
    text = b'{"choices":[],"usage":{"prompt_tokens":9,"completion_tokens":11}}'
    found = timed((0.1, head("application/json")), (0.5, body(text[:9])), (0.7, body(text[9:], end=True)))
    assert (found.input_tokens, found.output_tokens, found.streamed) == (9, 11, False)
    assert (found.first_token, found.per_token, found.seconds) == (None, None, near(0.7))


def test_what_is_no_inference_is_counted_and_left() -> None:
    found = timed((0.1, head("text/html")), model="made-up")
    assert (found.api, found.code, found.seconds) == ("none", "200", None)


@pytest.mark.parametrize(
    ("status", "code"),
    [("", "0"), ("200", "200"), ("99", "other"), ("2000", "other"), ("²00", "other"), ("2x0", "other"), ("x", "other")],
)
def test_a_status_that_is_none_is_no_label(status: str, code: str) -> None:
    assert timed((0.1, response(status, end=True))).code == code


@pytest.mark.parametrize("status", ["100", "103"])
def test_an_interim_response_is_not_the_answer(status: str) -> None:
    interim, final = (0.1, head(status=status)), (0.2, head())
    assert timed(interim, final, (0.5, body(TOKEN)), (0.9, body(DONE))).first_token == near(0.5)
    assert timed((0.1, response(status, end=True))).code == status


def test_output_that_only_the_end_completes_is_the_last() -> None:
    first, last = (0.5, body(TOKEN)), (0.9, body(TOKEN.rstrip()))
    found = timed((0.1, head()), first, last, (1.3, body(b"", end=True)))
    assert (found.first_token, found.per_token, found.output_tokens) == (near(0.5), near(0.8), 2)
    alone = timed((0.1, head()), last, (1.3, body(b"", end=True)))
    assert (alone.first_token, alone.per_token, alone.output_tokens) == (near(1.3), None, 1)


def test_failing_answers_end_with_their_head() -> None:
    found = timed((0.1, head("application/json", "503")))
    assert (found.code, found.error, found.seconds) == ("503", "", near(0.1))


def test_an_answer_that_cannot_be_read_is_timed_all_the_same() -> None:
    stream = ObserveStream(SNAPSHOT)
    stream.receive(RequestHeaders(Headers(), metadata=CHAT), 0.0)
    stream.receive(head(content_encoding="gzip"), 0.1)
    stream.receive(body(TOKEN), 0.2)
    fault, observed, _ = stream.receive(body(b"", end=True), 0.3)
    assert fault == Fault("unreadable_answer")
    assert isinstance(observed, Observed)
    assert (observed.seconds, observed.error, observed.first_token) == (0.3, "", None)

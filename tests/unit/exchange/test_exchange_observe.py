"""The observer beyond one timed answer: what it leaves under load, requests that no filter classified, and sessions."""

from __future__ import annotations

from typing import Any

import pytest

from extproc.envoy.actions import Finish
from extproc.envoy.events import Closed, RequestHeaders, ResponseBody, ResponseHeaders
from extproc.exchange.notes import Action, CustomSample, Fault, Observed
from extproc.exchange.observe import DEFERRED_CLOSE_TIMEOUT, MAX_RATE, ObserveStream
from extproc.headers import Headers
from extproc.policy.custom_metric import OUTPUT_TOKENS, SECONDS, CustomMetric, Source
from extproc.policy.snapshot import Policy, Snapshot, Version
from tests.unit.answers.realtime_events import USED, created, delta, done
from tests.unit.answers.wire.test_websocket import frame
from tests.unit.exchange.packed_zeros import packed_zeros

CHAT = {"api": "openai", "operation": "chat.completions", "model": "gpt-4", "policy": "p", "version": "v1"}
ROUTED = {"api": "openai", "operation": "realtime", "model": "gpt-realtime", "policy": "p", "version": "v1"}
SNAPSHOT = Snapshot((Policy("p", models=("gpt-*",), versions=(Version("v1"),)),))
near: Any = pytest.approx


TOKEN = b'data: {"choices":[{"delta":{"content":"x"}}]}\n\n'


def body(data: bytes, end: bool = False) -> ResponseBody:
    return ResponseBody(data, end)


def answering(kind: str = "text/event-stream", status: str = "200") -> ObserveStream:
    """An exchange that began at 0 s, and whose answer began at 0.1 s."""
    stream = ObserveStream(SNAPSHOT)
    stream.receive(RequestHeaders(Headers(), metadata=CHAT), 0.0)
    stream.receive(ResponseHeaders(Headers.of([(":status", status), ("content-type", kind)])), 0.1)
    return stream


def test_who_cannot_keep_up_leaves_what_has_a_status() -> None:
    stream = ObserveStream(SNAPSHOT)
    stream.receive(RequestHeaders(Headers(), metadata=CHAT), 0.0)
    assert stream.abandon() == ()
    stream.receive(ResponseHeaders(Headers.of([(":status", "200"), ("content-type", "text/event-stream")])), 0.1)
    stream.receive(body(TOKEN), 0.2)
    fault, observed, finish = stream.abandon()
    assert (fault, finish) == (Fault("observer_overload"), Finish())
    assert isinstance(observed, Observed)
    assert (observed.code, observed.error, observed.seconds, observed.output_tokens) == ("200", "shed", None, 1)


def test_an_answer_is_busy_that_comes_faster_than_any_model_writes() -> None:
    stream = answering("application/octet-stream")
    stream.receive(body(bytes(MAX_RATE + 1000)), 0.1)
    assert not stream.exceeds_rate(0.1)
    stream.receive(body(bytes(MAX_RATE)), 0.2)
    assert stream.exceeds_rate(0.2)
    assert not stream.exceeds_rate(2.0)


def test_a_flood_of_events_is_left_unread() -> None:
    fault, shed, finish = answering().receive(body(TOKEN * 1000), 0.2)
    assert (fault, finish) == (Fault("observer_overload"), Finish())
    assert isinstance(shed, Observed)
    assert (shed.error, shed.output_tokens, shed.seconds) == ("shed", None, None)


LARGE = 32 << 10


@pytest.mark.parametrize(
    ("size", "lines", "kind", "left"),
    [
        (LARGE + 1, 1001, "text/event-stream", True),
        (LARGE + 1, 1000, "text/event-stream", False),
        (LARGE + 1, 2, "text/event-stream", False),
        (LARGE, 1001, "text/event-stream", False),
        (LARGE + 1, 1001, "application/json", False),
    ],
)
def test_a_large_piece_of_a_stream_is_read_if_it_has_few_lines(size: int, lines: int, kind: str, left: bool) -> None:
    """A comment of server-sent events on each line; white space to JSON, of which a document may have any amount."""
    piece = (b": \n" if kind != "application/json" else b"{ \n").ljust(size - lines + 1, b" ") + b"\n" * (lines - 1)
    assert (Fault("observer_overload") in answering(kind).receive(body(piece), 0.2)) is left


def test_half_a_mebibyte_for_each_second_since_the_request_is_no_flood() -> None:
    stream = answering("application/octet-stream")
    stream.receive(body(bytes(3 * (512 << 10))), 1.0)
    assert stream.exceeds_rate(1.99)
    assert not stream.exceeds_rate(2.0)
    unasked = ObserveStream(SNAPSHOT)
    unasked.receive(ResponseHeaders(Headers.of([(":status", "200")]), metadata=CHAT), 0.0)
    unasked.receive(body(bytes(MAX_RATE)), 1.0)
    assert not unasked.exceeds_rate(1.0)
    unasked.receive(body(b"x"), 1.0)
    assert unasked.exceeds_rate(500.0), "nobody knows when it began"


def test_short_events_are_a_flood_where_they_take_as_long_as_long_ones() -> None:
    stream = answering()
    stream.receive(body((b"data: {}".ljust(62) + b"\n\n") * 450), 0.1)
    for _ in range(4):
        assert not stream.exceeds_rate(0.1)
        stream.receive(body((b"data: {}".ljust(62) + b"\n\n") * 451), 0.1)
    assert stream.exceeds_rate(0.1)
    assert not stream.exceeds_rate(0.2)
    session, _ = watching()
    (frames,) = {len(hear(session, (101.0, frame(b"{}".ljust(62)) * 450))) for _ in range(10)}
    assert (frames, session.exceeds_rate(101.0), session.exceeds_rate(102.0)) == (0, True, False)


def test_who_cannot_keep_up_leaves_a_closed_exchange_without_a_status_too() -> None:
    stream = ObserveStream(SNAPSHOT)
    stream.receive(RequestHeaders(Headers(), metadata=CHAT), 0.0)
    assert stream.abandon() == ()
    fault, observed, finish = stream.abandon(closed=True)
    assert (fault, finish) == (Fault("observer_overload"), Finish())
    assert isinstance(observed, Observed)
    assert (observed.code, observed.error) == ("0", "shed")
    assert stream.abandon(closed=True) == ()


@pytest.mark.parametrize(
    ("path", "metadata", "api", "operation"),
    [
        ("/v1/chat/completions", {}, "openai", "chat.completions"),
        ("/team-a/v1/chat/completions", {}, "openai", "chat.completions"),
        ("/v1/chat/completions", {"api": "ollama", "operation": "chat"}, "ollama", "chat"),
        ("/v1/chat/completions", {"gpu_pool": "west"}, "openai", "chat.completions"),
        ("/metrics", {}, "none", ""),
        ("", {"api": "ollama"}, "ollama", ""),
        ("", {}, "none", ""),
    ],
)
def test_what_the_route_filter_did_not_classify_is_classified_by_its_path(
    path: str, metadata: dict[str, str], api: str, operation: str
) -> None:
    snapshot = Snapshot((Policy("p", models=("gpt-*",), path_prefixes=("/team-a",)),))
    stream = ObserveStream(snapshot)
    pairs = [(":method", "POST"), *([(":path", path)] if path else [])]
    stream.receive(RequestHeaders(Headers.of(pairs), metadata=metadata), 0.0)
    (found,) = answers([*stream.receive(ResponseHeaders(Headers.of([(":status", "200")]), True), 0.1)])
    assert (found.api, found.operation) == (api, operation)
    assert found.gpu_pool == ("other" if "gpu_pool" in metadata else "none")


def watching(
    snapshot: Snapshot = SNAPSHOT, extensions: str = "", status: str = "101"
) -> tuple[ObserveStream, list[Action]]:
    """An exchange that began at 100 s and was upgraded at 101 s; and what is noted of that."""
    stream = ObserveStream(snapshot)
    head = Headers.of([(":status", status), ("sec-websocket-extensions", extensions)])
    actions = [*stream.receive(RequestHeaders(Headers(), metadata=ROUTED), 100.0)]
    return stream, [*actions, *stream.receive(ResponseHeaders(head), 101.0)]


def answers(actions: list[Action]) -> list[Observed]:
    return [action for action in actions if isinstance(action, Observed)]


def hear(stream: ObserveStream, *pieces: tuple[float, bytes]) -> list[Action]:
    return [action for now, data in pieces for action in stream.receive(ResponseBody(data), now)]


TURN = [(110.0, created()), (110.5, delta()), (111.3, delta()), (112.0, done())]


def test_each_answer_is_noted_and_the_upgrade_is_not() -> None:
    stream, actions = watching()
    assert actions == []
    first, second = hear(stream, (101.0, b""), *TURN, *((now + 3600, data) for now, data in TURN))
    assert isinstance(first, Observed)
    assert isinstance(second, Observed)
    assert (second.seconds, second.first_token, second.output_tokens) == (near(2.0), near(0.5), 17)
    assert (first.model, first.version, first.api, first.code, first.operation) == (
        *("gpt-*", "v1", "openai", "101", "realtime"),
    )
    assert (first.seconds, first.first_token, first.per_token) == (near(2.0), near(0.5), near(0.8 / 16))
    assert (first.input_tokens, first.output_tokens, first.cached_tokens) == (21, 17, 8)
    assert (first.streamed, first.estimated, first.error) == (True, False, "")


@pytest.mark.parametrize(
    ("last", "error", "seconds"),
    [
        ([(111.0, frame(b"\x03\xe8", 0x88))], "client_left", 1.0),
        ([(111.0, frame(b"", 0x88))], "client_left", 1.0),
        ([(111.0, frame(b"\x03\xf3", 0x88))], "cut_short", 1.0),
        ([(111.0, b"")], "cut_short", 1.0),
        ([(110.8, b""), (110.9, delta())], "client_left", 1.0),
        ([], "client_left", 1.0),
    ],
)
def test_a_session_that_ends_amid_an_answer(last: list[tuple[float, bytes]], error: str, seconds: float) -> None:
    stream, _ = watching()
    actions = hear(stream, (101.0, b""), *TURN[:2], *last)
    left = bool(last) and last[-1][1][:1] == b"\x88"
    assert (Finish() in actions) is left
    actions += stream.receive(Closed(), 111.0 + DEFERRED_CLOSE_TIMEOUT)
    (found,) = answers(actions)
    assert (found.error, found.seconds, found.first_token, found.code) == (error, near(seconds), near(0.5), "101")


def test_a_session_between_two_answers_ends_without_a_note() -> None:
    for last in ((), ((120.0, frame(b"\x03\xe8", 0x88)),)):
        stream, _ = watching()
        assert len(answers(hear(stream, *TURN))) == 1
        assert answers([*hear(stream, *last), *stream.receive(Closed(), 121.0)]) == []
    stream, _ = watching()
    assert stream.receive(ResponseBody(done(), end_of_stream=True), 102.0)[1:] == (Finish(),)


def test_an_upgrade_that_is_refused_is_noted_as_ever() -> None:
    for status in ("401", "503"):
        _, actions = watching(status=status)
        (found,) = answers(actions)
        assert (found.code, found.seconds, actions[-1]) == (status, near(1.0), Finish())


def test_what_cannot_be_read_is_left() -> None:
    _, actions = watching(extensions="x-own")
    assert actions == [Fault("unreadable_answer"), Finish()]
    stream, _ = watching()
    assert hear(stream, *TURN, (113.0, b"\xff\0"))[1:] == [Fault("unreadable_answer"), Finish()]
    stream, _ = watching()
    fault, observed, finish = hear(stream, *TURN[:2], (111.0, b"\xff\0"), (112.0, done()))
    assert (fault, finish) == (Fault("unreadable_answer"), Finish())
    assert isinstance(observed, Observed)
    assert (observed.error, observed.seconds, observed.first_token) == ("", None, near(0.5))


def test_who_cannot_keep_up_leaves_a_session() -> None:
    stream, _ = watching()
    hear(stream, *TURN[:2])
    fault, observed, finish = stream.abandon()
    assert (fault, finish) == (Fault("observer_overload"), Finish())
    assert isinstance(observed, Observed)
    assert (observed.error, observed.seconds, observed.output_tokens) == ("shed", None, 1)
    stream, _ = watching()
    hear(stream, *TURN)
    assert stream.abandon() == (Fault("observer_overload"), Finish())


def test_a_long_session_is_not_busy_for_its_length() -> None:
    stream, _ = watching()
    for n in range(40):
        hear(
            stream,
            *((now + 100 * n, data) for now, data in TURN),
            (112.0 + 100 * n, frame(bytes(MAX_RATE - 2000), 0x82)),
        )
    assert not stream.exceeds_rate(4100.0)


def test_what_the_policys_metrics_are_made_of() -> None:
    sound = Source(body=("response", "usage", "output_token_details", "audio_tokens"))
    share = CustomMetric("spoken", "GAUGE", (), sound, OUTPUT_TOKENS)
    rate = CustomMetric("rate", "GAUGE", (), OUTPUT_TOKENS, SECONDS)
    snapshot = Snapshot((Policy("p", models=("gpt-*",), versions=(Version("v1"),), custom_metrics=(share, rate)),))
    stream, _ = watching(snapshot)
    spoken = done(usage=USED | {"output_token_details": {"audio_tokens": 15}})
    actions = hear(stream, *TURN[:3], (112.0, spoken), *TURN)
    assert [note for note in actions if isinstance(note, CustomSample)] == [
        CustomSample(share, (), 15.0, 17.0),
        *[CustomSample(rate, (), 17.0, 0.0)] * 2,
    ]


@pytest.mark.parametrize("coding", ["gzip", "grpc", "websocket"])
def test_what_an_answer_unpacks_to_counts(coding: str) -> None:
    stream, following = packed_zeros(SNAPSHOT, CHAT, coding)
    for n in range(10):
        stream.receive(body(following()), 0.1)
        assert stream.exceeds_rate(0.1) == (n > 5)
    assert not stream.exceeds_rate(60.0)


ASKED = ROUTED | {"operation": "chat.completions"}
ANSWER = b'data: {"choices":[{"delta":{"content":"x"}}]}\n\ndata: [DONE]\n\n'


def watched(accounted: bool, **told: str) -> ObserveStream:
    """An exchange whose answer has begun."""
    stream = ObserveStream(SNAPSHOT, accounted=accounted)
    stream.receive(RequestHeaders(Headers(), metadata=ASKED | told), 100.0)
    return stream


EVENTS = ResponseHeaders(Headers.of([(":status", "200"), ("content-type", "text/event-stream")]))


@pytest.mark.parametrize(("told", "share"), [({}, 1.0), ({"observe": "0.25"}, 0.25), ({"observe": "no share"}, 1.0)])
def test_a_sampled_answer_says_of_what_share(told: dict[str, str], share: float) -> None:
    stream = watched(True, **told)
    assert stream.receive(EVENTS, 100.1) == ()
    read, _ = stream.receive(ResponseBody(ANSWER), 100.5)
    assert isinstance(read, Observed)
    assert (read.output_tokens, read.share) == (1, share)


LEFT = {"observe": "0.5", "observe_to_end": "0"}
READ = {"observe": "0.5", "observe_to_end": "0.125"}
ROLE = b'data: {"choices":[{"delta":{"role":"assistant"}}],"usage":{"prompt_tokens":9,"completion_tokens":0}}\n\n'
USAGE = b'data: {"choices":[],"usage":{"prompt_tokens":9,"completion_tokens":7}}\n\ndata: [DONE]\n\n'


def test_a_stream_that_is_not_read_to_its_end_is_left_at_its_first_token() -> None:
    """Tokens that it told before are not known to be all."""
    stream = watched(True, **LEFT)
    stream.receive(EVENTS, 100.1)
    assert stream.receive(ResponseBody(ROLE), 100.2) == ()
    found, finish = stream.receive(ResponseBody(TOKEN), 100.5)
    assert finish == Finish()
    assert isinstance(found, Observed)
    assert (found.first_token, found.first_token_stands_for, found.left, found.read_to_end) == (
        near(0.5),
        2,
        True,
        False,
    )
    assert (found.seconds, found.per_token, found.error) == (None, None, "")
    assert (found.input_tokens, found.output_tokens, found.cached_tokens, found.estimated) == (None, None, None, False)
    assert stream.receive(ResponseBody(TOKEN), 100.6) == stream.receive(Closed(), 101.0) == stream.abandon() == ()


def test_a_stream_that_is_read_to_its_end_stands_for_those_that_are() -> None:
    """But its first token for all whose first tokens are seen."""
    stream = watched(True, **READ)
    for event, now in ((EVENTS, 100.1), (ResponseBody(TOKEN), 100.5), (ResponseBody(TOKEN), 101.1)):
        assert stream.receive(event, now) == ()
    found, _ = stream.receive(ResponseBody(USAGE), 101.2)
    assert isinstance(found, Observed)
    assert (found.first_token, found.first_token_stands_for, found.left, found.read_to_end) == (
        near(0.5),
        2,
        False,
        True,
    )
    assert (found.stands_for, found.output_tokens, found.seconds, found.per_token) == (8, 7, near(1.2), near(0.1))


@pytest.mark.parametrize("told", [LEFT, READ])
@pytest.mark.parametrize(
    ("head", "piece", "error"),
    [
        (EVENTS, ResponseBody(ANSWER), ""),
        (EVENTS, ResponseBody(TOKEN, end_of_stream=True), "cut_short"),
        (EVENTS, ResponseBody(b'data: {"error":{"message":"out of memory"}}\n\n'), "error_in_stream"),
        (EVENTS, Closed(), "broken_off"),
        (ResponseHeaders(Headers.of([(":status", "200")])), ResponseBody(b'{"choices":[]}', end_of_stream=True), ""),
        (ResponseHeaders(Headers.of([(":status", "503")])), Closed(), ""),
    ],
)
def test_an_answer_that_ends_with_its_first_token_is_known_wherever_that_is(
    told: dict[str, str], head: ResponseHeaders, piece: ResponseBody | Closed, error: str
) -> None:
    """Or before it: so it stands for all of which as much is seen, whichever was drawn."""
    stream = watched(True, **told)
    noted = [*stream.receive(head, 100.1), *stream.receive(piece, 100.5)]
    (found,) = answers(noted)
    assert (found.error, found.stands_for, found.first_token_stands_for, found.left) == (error, 2, 2, False)
    assert found.read_to_end == (told is READ)


def test_what_has_no_account_is_read_to_its_end_whatever_was_drawn() -> None:
    stream = watched(False, **LEFT)
    assert stream.receive(EVENTS, 100.1) == stream.receive(ResponseBody(TOKEN), 100.2) == ()
    (found,) = answers([*stream.receive(ResponseBody(ANSWER), 100.5)])
    assert (found.output_tokens, found.stands_for, found.first_token_stands_for, found.read_to_end) == (2, 1, 1, True)


def test_what_is_left_out_is_left_with_its_status() -> None:
    """Envoy opens no stream for it, unless it was rendered before there was any sampling."""
    stream = watched(True, observe="0")
    assert stream.receive(EVENTS, 100.1) == (Finish(),)
    assert stream.receive(ResponseBody(ANSWER), 100.5) == stream.receive(Closed(), 101.0) == ()


@pytest.mark.parametrize("told", ["0", "0.25"])
def test_what_has_no_account_is_observed_and_stands_for_itself(told: str) -> None:
    """The observer is all that counts it."""
    stream = watched(False, observe=told)
    stream.receive(EVENTS, 100.1)
    read, _ = stream.receive(ResponseBody(ANSWER), 100.5)
    assert isinstance(read, Observed)
    assert (read.output_tokens, read.seconds, read.share, read.accounted) == (1, near(0.5), 1.0, False)


def test_what_is_left_out_and_closed_before_its_status_is_not_noted() -> None:
    assert watched(True, observe="0").receive(Closed(), 1) == ()


def test_a_refusal_by_the_route_filter_has_no_duration() -> None:
    """Of which the request is not seen, whatever Envoy says of the time."""
    stream = ObserveStream(Snapshot(()), accounted=False)
    timed = Headers.of([(":status", "400"), ("server-timing", "total;dur=7")])
    noted = answers(list(stream.receive(ResponseHeaders(timed, end_of_stream=False), 1.0)))
    assert [(one.code, one.seconds) for one in noted] == [("400", None)]

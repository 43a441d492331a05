"""An answer that is kept until its turn is the one that would have been given at once."""

from __future__ import annotations

import json

import pytest

from extproc.envoy.actions import FINISH, BodyEcho, BodyReply, HeadersReply, Reject
from extproc.envoy.events import BodyMode, Protocol, RequestBody, RequestHeaders
from extproc.exchange.held_answer import HeldAnswer
from extproc.exchange.notes import Picked, Waited
from extproc.exchange.picks import Picks
from extproc.exchange.route import RouteStream
from extproc.exchange.waiting_pick import WaitingPick
from extproc.headers import Headers
from tests.queued_requests import PATIENCE, A, Pages, Process, busy, snapshot


@pytest.mark.parametrize("mode", [BodyMode.BUFFERED, BodyMode.NONE, BodyMode.FULL_DUPLEX_STREAMED])
def test_what_comes_while_it_waits_follows_when_it_goes(mode: BodyMode) -> None:
    process = busy()
    body = json.dumps({"model": "llama", "messages": [{"content": "x" * 70_000}]}).encode()
    head = Headers.of([(":method", "POST"), (":path", "/v1/chat/completions"), ("content-length", str(len(body)))])
    stream = RouteStream(process.view, bytes(8), picks=process.picks)
    before = stream.receive(RequestHeaders(head, protocol=Protocol(mode)))
    assert [type(action) for action in before] == ([] if mode is BodyMode.FULL_DUPLEX_STREAMED else [HeadersReply])
    actions = stream.receive(RequestBody(body, end_of_stream=True))
    (waits,) = (action for action in actions if isinstance(action, WaitingPick))
    plain = RouteStream(snapshot(max_queue=0), bytes(8), picks=Picks(Pages()))
    plain.receive(RequestHeaders(head, protocol=Protocol(mode)))
    expected = plain.receive(RequestBody(body, end_of_stream=True))
    held = HeldAnswer(stream, process.picks.queues, waits, actions)
    process.picks.queues.hold(waits, PATIENCE, lambda: None, process.call_later)
    process.say(A=0)
    process.look()
    found = held.finish()
    assert [type(a) for a in found if not isinstance(a, Waited)] == [type(a) for a in expected]
    decided = [a for a in found if isinstance(a, HeadersReply | BodyReply) and a.mutation.endpoints]
    assert [a.mutation.endpoints for a in decided] == [A]


def test_a_body_that_comes_while_it_waits_is_passed_on_when_it_goes() -> None:
    process = busy()
    head = Headers.of([(":method", "POST"), (":path", "/v1beta/models/llama:generateContent")])
    stream = RouteStream(process.view, bytes(8), picks=process.picks)
    actions = stream.receive(RequestHeaders(head, protocol=Protocol(BodyMode.FULL_DUPLEX_STREAMED)))
    (waits,) = (action for action in actions if isinstance(action, WaitingPick))
    held = HeldAnswer(stream, process.picks.queues, waits, actions)
    resumed: list[int] = []
    process.picks.queues.hold(waits, PATIENCE, lambda: resumed.append(1), process.call_later)
    assert held.receive(RequestBody(b"one")) == ()
    process.say(A=0)
    process.look()
    assert resumed == [1]
    waited, picked, headers, echo = held.finish()
    assert (type(waited), type(picked)) == (Waited, Picked)
    assert isinstance(headers, HeadersReply)
    assert headers.mutation.endpoints == A
    assert echo == BodyEcho(b"one", end_of_stream=False)
    assert held.stream.receive(RequestBody(b"two", True)) == (BodyEcho(b"two", True), FINISH)


def test_a_refusal_takes_the_place_of_the_answer_and_of_all_that_followed() -> None:
    process = busy()
    head = Headers.of([(":method", "POST"), (":path", "/v1beta/models/llama:generateContent")])
    stream = RouteStream(process.view, bytes(8), picks=process.picks)
    actions = stream.receive(RequestHeaders(head, protocol=Protocol(BodyMode.FULL_DUPLEX_STREAMED)))
    (waits,) = (action for action in actions if isinstance(action, WaitingPick))
    held = HeldAnswer(stream, process.picks.queues, waits, actions)
    process.picks.queues.hold(waits, PATIENCE, lambda: None, process.call_later)
    held.receive(RequestBody(b"one", True))
    process.look(PATIENCE)
    *notes, reject, finish = held.finish()
    assert {type(note) for note in notes} == {Waited, Picked}
    assert isinstance(reject, Reject)
    assert (reject.status, dict(reject.metadata)["policy"], finish) == (429, "chat", FINISH)
    assert b"busy" in reject.body


def held_stream(process: Process, mode: BodyMode) -> HeldAnswer:
    """A request that waits, and whose body is still to come."""
    head = Headers.of([(":method", "POST"), (":path", "/v1beta/models/llama:generateContent")])
    protocol = Protocol(mode, send_body_without_waiting=True)
    stream = RouteStream(process.view, bytes(8), picks=process.picks)
    actions = stream.receive(RequestHeaders(head, protocol=protocol))
    (waits,) = (action for action in actions if isinstance(action, WaitingPick))
    held = HeldAnswer(stream, process.picks.queues, waits, actions)
    process.picks.queues.hold(waits, PATIENCE, lambda: None, process.call_later)
    return held


@pytest.mark.parametrize("size", [1, 50_000])
def test_no_more_of_a_body_is_kept_than_of_any(size: int) -> None:
    process = busy(body_limit=100_000)
    queues, held = process.picks.queues, held_stream(process, BodyMode.FULL_DUPLEX_STREAMED)
    pieces = 100_000 // (size + 256)
    for _ in range(pieces):
        held.receive(RequestBody(b"x" * size))
    assert queues.waiting()
    for _ in range(3):
        held.receive(RequestBody(b"x" * size))
    assert not queues.waiting()
    assert len(held._actions) == 1 + pieces + 1, "the reply to the headers, and the pieces that were kept"
    *_, reject, finish = held.finish()
    assert isinstance(reject, Reject)
    assert (reject.status, reject.code, finish) == (429, "queue_full", FINISH)


def test_pieces_to_which_nothing_is_owed_are_not_kept() -> None:
    process = busy(body_limit=1000)
    held = held_stream(process, BodyMode.STREAMED)
    for _ in range(10):
        held.receive(RequestBody(b"x" * 500))
    assert process.picks.queues.waiting()

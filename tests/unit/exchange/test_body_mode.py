"""How a decision goes back to Envoy in each mode of the body."""

from __future__ import annotations

import pytest

from extproc.bodies.request import BodyEdit
from extproc.envoy.actions import BodyEcho, BodyReply, HeadersReply, Mutation, TrailersReply
from extproc.envoy.events import BodyMode, Protocol
from extproc.exchange.body_mode import can_hold_back, is_complete, mode_of, replies, with_body_change
from extproc.exchange.replies import ECHO_LIMIT
from extproc.exchange.request_body import Body, Change
from extproc.headers import Headers

CHANGE = Mutation(set=(("x-model", "m"),))
TRAILERS = (TrailersReply(),)


def body(*pieces: bytes, **headers: str) -> Body:
    found = Body(Headers.of([(name.replace("_", "-"), value) for name, value in headers.items()]), 1 << 20)
    for piece in pieces:
        found.add(piece)
    return found


def test_an_old_envoy_says_nothing_and_buffers() -> None:
    assert mode_of(None) is BodyMode.BUFFERED
    assert mode_of(Protocol(BodyMode.NONE)) is BodyMode.NONE


@pytest.mark.parametrize("mode", BodyMode)
@pytest.mark.parametrize("at_once", [True, False])
def test_only_what_is_sent_without_waiting_can_be_held_back(mode: BodyMode, at_once: bool) -> None:
    held = can_hold_back(mode, Protocol(mode, send_body_without_waiting=at_once))
    assert held is (mode is BodyMode.FULL_DUPLEX_STREAMED or (mode is BodyMode.STREAMED and at_once))
    assert can_hold_back(mode, None) is (mode is BodyMode.FULL_DUPLEX_STREAMED)


@pytest.mark.parametrize("mode", BodyMode)
def test_when_a_body_is_complete(mode: BodyMode) -> None:
    assert is_complete(mode, body(b"ab"), end_of_stream=True)
    buffered = mode is BodyMode.BUFFERED
    assert is_complete(mode, body(b"ab"), end_of_stream=False) is buffered
    assert is_complete(mode, body(b"ab", content_length="3"), end_of_stream=False) is buffered
    full = body(b"a", b"b", content_length="2")
    assert is_complete(mode, full, end_of_stream=False) is (buffered or mode is BodyMode.STREAMED)


@pytest.mark.parametrize(
    ("headers", "unpacked", "wanted"),
    [
        ({}, False, CHANGE),
        ({"content-length": "9"}, False, Mutation((*CHANGE.set, ("content-length", "7")), ())),
        ({}, True, Mutation(CHANGE.set, ("content-encoding",))),
    ],
)
def test_what_a_changed_body_wants_of_the_headers(headers: dict[str, str], unpacked: bool, wanted: Mutation) -> None:
    change = Change(BodyEdit(0, 1, b"x"), 7, unpacked=unpacked)
    assert with_body_change(CHANGE, change, Headers.of(headers.items())) == wanted


def test_metadata_stays_with_a_changed_body() -> None:
    mutation = Mutation(metadata=(("api", "openai"),))
    assert with_body_change(mutation, Change(BodyEdit(0, 1, b"x"), 7, unpacked=False), Headers()) == mutation


SPLICE = BodyEdit(1, 3, b"new")


def test_buffered_the_body_is_answered() -> None:
    found = body(b"abcd")
    assert replies(BodyMode.BUFFERED, CHANGE, found, None, (), True) == (BodyReply(CHANGE),)
    assert replies(BodyMode.BUFFERED, CHANGE, found, SPLICE, TRAILERS, True) == (BodyReply(CHANGE, b"anewd"), *TRAILERS)


def test_streamed_the_headers_are_answered_and_the_pieces_that_change() -> None:
    found = body(b"ab", b"c", b"d")
    assert replies(BodyMode.STREAMED, CHANGE, found, None, (), True) == (HeadersReply(CHANGE),)
    assert replies(BodyMode.STREAMED, CHANGE, found, SPLICE, TRAILERS, True) == (
        *(HeadersReply(CHANGE), BodyReply(body=b"anew"), BodyReply(body=b"")),
    ), "Envoy does not wait for a reply to the trailers"


@pytest.mark.parametrize("splice", [None, SPLICE])
def test_full_duplex_every_byte_is_echoed(splice: BodyEdit | None) -> None:
    found, text = body(b"ab", b"cd"), b"anewd" if splice else b"abcd"
    mode = BodyMode.FULL_DUPLEX_STREAMED
    for ended, last in ((True, ()), (False, ()), (True, TRAILERS)):
        echoed = BodyEcho(text, end_of_stream=ended and not last)
        assert replies(mode, CHANGE, found, splice, last, ended) == (HeadersReply(CHANGE), echoed, *last)


def test_an_echo_is_cut_into_pieces() -> None:
    found = body(bytes(ECHO_LIMIT + 1))
    _, first, last = replies(BodyMode.FULL_DUPLEX_STREAMED, CHANGE, found, None, (), True)
    assert (first, last) == (BodyEcho(bytes(ECHO_LIMIT), False), BodyEcho(b"\0", True))

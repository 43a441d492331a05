"""How Envoy shows a request's body, and how the decision goes back to it in that mode.

- STREAMED, sent without waiting: the reply to the headers is held back until the body is complete, so that the model
  decides the route. One round trip, nothing echoed.
- BUFFERED: the headers are answered without a change, the reply to the body has the decision.
- NONE: as BUFFERED, after asking for the body with ``mode_override``, unless Envoy has read the model itself.
- FULL_DUPLEX_STREAMED: held back as with STREAMED, but every byte must be echoed.
- A client that sends message after message is not waited for in BUFFERED and NONE: the request is not routed.
- In any other mode Envoy would route before the body is read: the request is not routed, and a fault is noted.

Source: Envoy's documentation, "External Processing", ``ProcessingMode.BodySendMode``.
"""

from __future__ import annotations

from typing import TypeAlias

from extproc.bodies.request import BodyEdit
from extproc.envoy.actions import BodyReply, HeadersReply, Mutation
from extproc.envoy.events import BodyMode, Protocol
from extproc.exchange.notes import Action
from extproc.exchange.replies import echo, replaced
from extproc.exchange.request_body import Body, Change
from extproc.headers import Headers

# Names of their own: access to a member of an Enum takes as long as a call.
_STREAMED, _BUFFERED, _FULL_DUPLEX = BodyMode.STREAMED, BodyMode.BUFFERED, BodyMode.FULL_DUPLEX_STREAMED

Actions: TypeAlias = tuple[Action, ...]


def mode_of(protocol: Protocol | None) -> BodyMode:
    """An Envoy that does not say is an old one, for which BUFFERED is rendered."""
    return _BUFFERED if protocol is None else protocol.request_body


def can_hold_back(mode: BodyMode, protocol: Protocol | None) -> bool:
    """Whether Envoy sends the body while the reply to the headers is held back."""
    return mode is _FULL_DUPLEX or (mode is _STREAMED and protocol is not None and protocol.send_body_without_waiting)


def is_complete(mode: BodyMode, body: Body, *, end_of_stream: bool) -> bool:
    """Whether all of the body has come.

    A BUFFERED body comes in one message, which does not say that the stream ends where trailers follow. STREAMED, the
    end may come in an empty message of its own, or with trailers that Envoy does not show: the length tells it sooner.
    """
    return end_of_stream or mode is _BUFFERED or (mode is _STREAMED and body.full)


def with_body_change(mutation: Mutation, change: Change, headers: Headers) -> Mutation:
    """``mutation``, and what a change of the body wants of the headers.

    Envoy does not correct ``content-length``: STREAMED, the old one would go upstream with the new body.
    """
    length = (("content-length", str(change.length)),) if "content-length" in headers else ()
    unpacked = ("content-encoding",) if change.unpacked else ()
    return Mutation(mutation.set + length, mutation.remove + unpacked, mutation.metadata, mutation.endpoints)


def replies(
    mode: BodyMode, mutation: Mutation, body: Body, splice: BodyEdit | None, trailers: Actions, ended: bool
) -> Actions:
    """The replies to a decision that was made on ``body``.

    ``splice``: changes the body. ``trailers``: the reply to the trailers, where they have come. ``ended``: nothing more
    of the request is to come; FULL_DUPLEX_STREAMED, what is to come must be echoed as well.
    """
    if mode is _BUFFERED:
        return BodyReply(mutation, splice.apply(body.raw) if splice else None), *trailers
    if mode is _FULL_DUPLEX:
        raw = splice.apply(body.raw) if splice else body.raw
        return HeadersReply(mutation), *echo(raw, end_of_stream=ended and not trailers), *trailers
    return HeadersReply(mutation), *(replaced(body.sizes, body.raw, splice) if splice else ())

"""Parts of replies to Envoy: mutations of headers, bodies that go back, replies that change nothing."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache

from extproc.bodies.request import BodyEdit
from extproc.envoy.actions import BodyEcho, BodyReply, HeadersReply, Mutation, ResponseReply, TrailersReply
from extproc.envoy.events import (
    Event,
    RequestBody,
    RequestHeaders,
    RequestTrailers,
    ResponseBody,
    ResponseHeaders,
    ResponseTrailers,
)
from extproc.exchange.notes import Action
from extproc.headers import DROPPED, Headers
from extproc.policy.decision import Decision, dynamic_metadata, routing_headers

ECHO_LIMIT = 62_000
"""Bytes in one echoed piece: Envoy's HTTP/2 frames and the Endpoint Picker Protocol's reference stay below 64 KiB."""


def echo(body: bytes, *, end_of_stream: bool) -> tuple[Action, ...]:
    """``body`` in pieces for FULL_DUPLEX_STREAMED; ``end_of_stream``: the last one ends the request."""
    starts = range(0, len(body), ECHO_LIMIT) or range(1)
    return tuple(
        BodyEcho(body[at : at + ECHO_LIMIT], end_of_stream=end_of_stream and at == starts[-1]) for at in starts
    )


def replaced(sizes: Sequence[int], body: bytes, splice: BodyEdit) -> tuple[Action, ...]:
    """A reply for each streamed piece of ``body`` up to the last one that changes; the rest passes on as it came."""
    replies: list[Action] = []
    at = 0
    for size in sizes:
        if at >= splice.end:
            break
        following = at + size
        if splice.start >= following:
            replies.append(BodyReply())
        else:
            # The new value goes where the old one begins; later pieces only lose what is left of the old one.
            head, tail = max(splice.start, at), min(splice.end, following)
            data = splice.data if splice.start >= at else b""
            replies.append(BodyReply(body=body[at:head] + data + body[tail:following]))
        at = following
    return tuple(replies)


def unchanged(event: Event) -> tuple[Action, ...]:
    """The reply of the event's own kind that changes nothing."""
    match event:
        case RequestHeaders():
            return (HeadersReply(),)
        case RequestBody():
            return (BodyReply(),)
        case RequestTrailers():
            return (TrailersReply(),)
        case ResponseHeaders():
            return (ResponseReply(),)
        case ResponseBody():
            return (ResponseReply(body=True),)
        case ResponseTrailers():
            return (TrailersReply(request=False),)
        case _:
            return ()


def client_copies(headers: Headers, overwritten: Sequence[tuple[str, str]] = ()) -> tuple[str, ...]:
    """Routing headers that the client sent, but for those that are overwritten anyway."""
    return () if headers.has_none_of(_DROPPED) else _copies(headers, [name for name, _ in overwritten])


def _copies(headers: Headers, kept: Sequence[str]) -> tuple[str, ...]:
    return tuple(name for name in DROPPED if name in headers and name not in kept)


_DROPPED = frozenset(DROPPED)


def routing_mutation(decision: Decision, headers: Headers, rename: Callable[[str], tuple[str, str]] | None) -> Mutation:
    """The headers and metadata of a decision but for its ``endpoint``, without routing headers that the client sent.

    ``rename``: names another model in the path, the query or a header, where the API has it there.
    """
    mutation = mutation_of(decision)
    found = shared = mutation.set
    removed = client_copies(headers, found)
    if decision.model_rewrite and rename is not None:
        found = (*found, rename(decision.model_rewrite))
    return Mutation(found, removed, mutation.metadata) if removed or found is not shared else mutation


def own_mutation(shared: Mutation, headers: tuple[tuple[str, str], ...], endpoints: str) -> Mutation:
    """The mutation, which many requests share, with headers and endpoints of this one, if it has any."""
    if not headers and not endpoints:
        return shared
    return Mutation((*shared.set, *headers), shared.remove, shared.metadata, endpoints)


def mutation_of(decision: Decision) -> Mutation:
    """The headers and metadata of a decision. Equal decisions share one, so that its bytes are made once."""
    return _mutation(decision.identity())


@lru_cache(maxsize=4096)
def _mutation(identity: tuple[str, ...]) -> Mutation:
    return Mutation(routing_headers(identity), (), dynamic_metadata(identity))

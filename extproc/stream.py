"""One HTTP exchange as the filter ``aimesh.route`` shows it: events in, actions out. Floor 3: may import floors 0 to 2.

``TRANSITIONS`` is the whole machine: what happens to each event in each state. The stream answers as early as it can
and then finishes, so that no gRPC stream lives as long as a model's answer.

How the body comes (``Protocol``) decides how the answer goes back:

- STREAMED, sent without waiting (the default rendering): the reply to the headers is held back until the body is
  complete, so that the model decides the route. One round trip, nothing echoed.
- BUFFERED: the headers are waved through, the reply to the body carries the decision.
- NONE: as BUFFERED, after asking for the body with ``mode_override``.
- FULL_DUPLEX_STREAMED: held back like the first, but every byte must be echoed.
- Anything else can't re-route safely on a body: such a request passes on unrouted, and a fault is noted.
"""

from __future__ import annotations

import enum
from collections.abc import Callable
from typing import Any, TypeAlias

from extproc import apis, jsonbody
from extproc import headers as names
from extproc.actions import (
    NO_MUTATION,
    Action,
    BodyEcho,
    BodyReply,
    Fault,
    Finish,
    HeadersReply,
    Mutation,
    Reject,
    ResponseReply,
    TrailersReply,
    Unmatched,
)
from extproc.errors import Rejected, Unreadable
from extproc.events import (
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
from extproc.headers import Headers
from extproc.policy import Decision, decide
from extproc.request import Asked, Operation
from extproc.view import Policy, View

Actions: TypeAlias = tuple[Action, ...]

ECHO_LIMIT = 62_000
"""Bytes in one echoed piece: Envoy's HTTP/2 frames and the Endpoint Picker Protocol's reference stay below 64 KiB."""


class State(enum.Enum):
    """Where the exchange is."""

    HEAD = "waiting for the request's headers"
    BODY = "collecting the body"
    ECHO = "decided; echoing the rest of a full-duplex body"
    DONE = "answered, or gone"


class RouteStream:
    """Reads one request, decides, answers.

    ``view`` stays the same for the whole exchange, whatever is reloaded meanwhile. ``entropy``: some fresh random bytes.
    """

    __slots__ = ("_chunks", "_entropy", "_headers", "_limit", "_mode", "_operation", "_size", "_view", "decision", "state")

    def __init__(self, view: View, entropy: bytes) -> None:
        self.state = State.HEAD
        self.decision: Decision | None = None
        self._view = view
        self._entropy = entropy
        self._headers = _NO_HEADERS
        self._operation = _NO_OPERATION
        self._mode = BodyMode.NONE
        self._chunks: list[bytes] = []
        self._size = 0
        self._limit = 0

    def receive(self, event: Event, now: float) -> Actions:  # noqa: ARG002 - the signature of every exchange
        """What to do about ``event``, in order. Never raises for anything that Envoy or a client sends."""
        return TRANSITIONS[self.state, type(event)](self, event)

    # State HEAD

    def _on_headers(self, event: RequestHeaders) -> Actions:
        headers = self._headers = event.headers
        operation = apis.classify(headers.text(":method"), headers.text(":path"))
        if operation is None:
            return self._pass_on("no_api", event)
        self._operation = operation
        self._limit, wanted = self._body_wanted(operation)
        if not wanted or (event.end_of_stream and operation.read is None):
            return self._answer_head(event, b"")
        if event.end_of_stream:
            return self._pass_on("no_body", event)
        if headers.text("content-encoding") not in ("", "identity"):
            return self._pass_on("content_encoding", event)
        length = headers.text("content-length")
        if length.isdecimal() and len(length) < 19 and int(length) > self._limit:
            return self._reject(_too_large(self._limit))
        return self._collect(event.protocol)

    def _body_wanted(self, operation: Operation) -> tuple[int, bool]:
        """(the most bytes of body to read, whether any are needed)."""
        if operation.model is None:
            return self._view.body_limit, True
        match = self._view.match(operation.model)
        if match is None:
            return 0, False
        return match.policy.body_limit, bool(match.policy.sticky and match.policy.sticky.body)

    def _answer_head(self, event: RequestHeaders, body: bytes) -> Actions:
        """Path and headers tell all: answer at once. In full duplex the body must still be echoed."""
        try:
            mutation, notes = self._decide(body)
        except Rejected as rejected:
            return self._reject(rejected)
        if _mode(event.protocol) is BodyMode.FULL_DUPLEX_STREAMED and not event.end_of_stream:
            self.state = State.ECHO
            return (*notes, HeadersReply(mutation))
        return self._finish(*notes, HeadersReply(mutation))

    def _pass_on(self, reason: str, event: RequestHeaders) -> Actions:
        """Nothing for us: the request goes on as it came, without routing headers that a client made up."""
        if _mode(event.protocol) is BodyMode.FULL_DUPLEX_STREAMED and not event.end_of_stream:
            self.state = State.ECHO
            return (Unmatched(reason), HeadersReply(self._cleaned()))
        return self._finish(Unmatched(reason), HeadersReply(self._cleaned()))

    def _collect(self, protocol: Protocol | None) -> Actions:
        self.state = State.BODY
        self._mode = _mode(protocol)
        if self._mode is BodyMode.BUFFERED:
            return (HeadersReply(NO_MUTATION),)
        if self._mode is BodyMode.NONE:
            self._mode = BodyMode.BUFFERED
            return (HeadersReply(NO_MUTATION, BodyMode.BUFFERED),)
        if self._mode is BodyMode.FULL_DUPLEX_STREAMED or (
            self._mode is BodyMode.STREAMED and protocol is not None and protocol.send_body_without_waiting
        ):
            return ()
        return self._finish(Fault("unsafe_body_mode"), HeadersReply(self._cleaned()))

    # State BODY

    def _on_body(self, event: RequestBody) -> Actions:
        self._size += len(event.data)
        if self._size > self._limit:
            return self._reject(_too_large(self._limit))
        self._chunks.append(event.data)
        # A BUFFERED body comes whole; the end of the stream is not told with it where trailers follow.
        if event.end_of_stream or self._mode is BodyMode.BUFFERED:
            return self._answer_body(last=())
        return ()

    def _on_trailers(self, _: RequestTrailers) -> Actions:
        return self._answer_body(last=(TrailersReply(),))

    def _answer_body(self, last: Actions) -> Actions:
        """The body is complete. ``last`` answers the trailers, where they and not the body ended the request."""
        chunks = self._chunks
        body = chunks[0] if len(chunks) == 1 else b"".join(chunks)
        try:
            mutation, notes = self._decide(body)
        except Unreadable as unreadable:
            mutation, notes = self._cleaned(), (Unmatched(unreadable.reason),)
        except Rejected as rejected:
            return self._reject(rejected)
        splice = self._splice(body)
        if splice is not None and "content-length" in self._headers:
            # Envoy does not mend it: streamed, the old length would go upstream with the new body.
            length = len(body) + len(splice.data) - (splice.end - splice.start)
            mutation = Mutation((*mutation.set, ("content-length", str(length))), mutation.remove, mutation.metadata)
        if self._mode is BodyMode.BUFFERED:
            return self._finish(*notes, BodyReply(mutation, splice(body) if splice else None), *last)
        replies: Actions
        if self._mode is BodyMode.FULL_DUPLEX_STREAMED:
            replies = _echo(splice(body) if splice else body, end_of_stream=not last)
        else:
            replies = _replaced(chunks, splice) if splice else ()
            last = ()
        return self._finish(*notes, HeadersReply(mutation), *replies, *last)

    # State ECHO

    def _echo_body(self, event: RequestBody) -> Actions:
        if event.end_of_stream:
            return self._finish(BodyEcho(event.data, end_of_stream=True))
        return (BodyEcho(event.data, end_of_stream=False),)

    def _echo_trailers(self, _: RequestTrailers) -> Actions:
        return self._finish(TrailersReply())

    # Any state

    def _out_of_order(self, event: Event) -> Actions:
        """Envoy sent what it can't: answer with no change, so that it does not wait, and leave."""
        held_back = self.state is State.BODY and self._mode is not BodyMode.BUFFERED
        replies: Actions = (HeadersReply(self._cleaned()),) if held_back else ()
        return self._finish(Fault("unexpected_" + _KIND[type(event)]), *replies, *_unchanged(event))

    def _ignore(self, _: Event) -> Actions:
        return ()

    def _late(self, event: Event) -> Actions:
        return (Fault("late_" + _KIND[type(event)]),)

    def _closed(self, _: Closed) -> Actions:
        self.state = State.DONE
        self._chunks = []
        return ()

    # What the states share

    def _decide(self, body: bytes) -> tuple[Mutation, Actions]:
        """Raises ``Unreadable`` and ``Rejected``."""
        operation = self._operation
        if operation.read is not None:
            fields = operation.read(body)
            asked = Asked(operation.api, operation.name, fields.model, operation.version, fields.stream)
        else:
            asked = Asked(operation.api, operation.name, operation.model or "", operation.version)
        match = self._view.match(asked.model)
        key = self._body_key(match.policy, body) if match else None
        decision = self.decision = decide(asked, self._headers, self._view, self._entropy, key)
        if decision.policy is not None and len(body) > decision.policy.body_limit:
            raise _too_large(decision.policy.body_limit)
        setting = decision.headers()
        kept = [name for name, _ in setting]
        mutation = Mutation(setting, self._client_copies(kept), decision.metadata())
        return mutation, () if decision.policy else (Unmatched("no_policy"),)

    def _body_key(self, policy: Policy, body: bytes) -> str | None:
        pointer = policy.sticky.body if policy.sticky else ()
        return jsonbody.scalar_at(body, pointer) if pointer and body else None

    def _splice(self, body: bytes) -> jsonbody.Splice | None:
        if self.decision is None or self._operation.read is None or not self.decision.model_rewrite:
            return None
        return jsonbody.replace_model(body, self.decision.model_rewrite)

    def _client_copies(self, kept: list[str]) -> tuple[str, ...]:
        """Routing headers that the client sent and that we do not overwrite anyway."""
        return tuple(name for name in names.ROUTING if name in self._headers and name not in kept)

    def _cleaned(self) -> Mutation:
        metadata = {"api": self._operation.api} if self._operation.api else {}
        return Mutation(remove=self._client_copies([]), metadata=metadata)

    def _reject(self, rejected: Rejected) -> Actions:
        metadata = {"api": self._operation.api}
        if self.decision is not None:
            metadata = dict(self.decision.metadata())
        return self._finish(Reject(rejected.status, rejected.code, rejected.message, metadata))

    def _finish(self, *actions: Action) -> Actions:
        self.state = State.DONE
        self._chunks = []
        return (*actions, Finish())


_NO_HEADERS = Headers()
_NO_OPERATION = Operation("", "")

_KIND: dict[type[Event], str] = {
    RequestHeaders: "request_headers",
    RequestBody: "request_body",
    RequestTrailers: "request_trailers",
    ResponseHeaders: "response_headers",
    ResponseBody: "response_body",
    ResponseTrailers: "response_trailers",
    Unknown: "unknown",
    Closed: "closed",
}

TRANSITIONS: dict[tuple[State, type[Event]], Callable[[RouteStream, Any], Actions]] = {
    (State.HEAD, RequestHeaders): RouteStream._on_headers,
    (State.HEAD, RequestBody): RouteStream._out_of_order,
    (State.HEAD, RequestTrailers): RouteStream._out_of_order,
    (State.HEAD, ResponseHeaders): RouteStream._out_of_order,
    (State.HEAD, ResponseBody): RouteStream._out_of_order,
    (State.HEAD, ResponseTrailers): RouteStream._out_of_order,
    (State.HEAD, Unknown): RouteStream._out_of_order,
    (State.HEAD, Closed): RouteStream._closed,
    (State.BODY, RequestHeaders): RouteStream._out_of_order,
    (State.BODY, RequestBody): RouteStream._on_body,
    (State.BODY, RequestTrailers): RouteStream._on_trailers,
    (State.BODY, ResponseHeaders): RouteStream._out_of_order,
    (State.BODY, ResponseBody): RouteStream._out_of_order,
    (State.BODY, ResponseTrailers): RouteStream._out_of_order,
    (State.BODY, Unknown): RouteStream._out_of_order,
    (State.BODY, Closed): RouteStream._closed,
    (State.ECHO, RequestHeaders): RouteStream._out_of_order,
    (State.ECHO, RequestBody): RouteStream._echo_body,
    (State.ECHO, RequestTrailers): RouteStream._echo_trailers,
    (State.ECHO, ResponseHeaders): RouteStream._out_of_order,
    (State.ECHO, ResponseBody): RouteStream._out_of_order,
    (State.ECHO, ResponseTrailers): RouteStream._out_of_order,
    (State.ECHO, Unknown): RouteStream._out_of_order,
    (State.ECHO, Closed): RouteStream._closed,
    # After the answer, pieces of the body may still be under way to us: nobody waits for a reply to them.
    (State.DONE, RequestHeaders): RouteStream._late,
    (State.DONE, RequestBody): RouteStream._ignore,
    (State.DONE, RequestTrailers): RouteStream._ignore,
    (State.DONE, ResponseHeaders): RouteStream._late,
    (State.DONE, ResponseBody): RouteStream._late,
    (State.DONE, ResponseTrailers): RouteStream._late,
    (State.DONE, Unknown): RouteStream._late,
    (State.DONE, Closed): RouteStream._ignore,
}


def _mode(protocol: Protocol | None) -> BodyMode:
    """An Envoy that tells nothing is an old one: those are rendered BUFFERED."""
    return BodyMode.BUFFERED if protocol is None else protocol.request_body


def _too_large(limit: int) -> Rejected:
    return Rejected(413, "request_too_large", f"the request body is larger than the {limit} bytes allowed")


def _echo(body: bytes, *, end_of_stream: bool) -> Actions:
    starts = range(0, len(body), ECHO_LIMIT) or range(1)
    return tuple(
        BodyEcho(body[at : at + ECHO_LIMIT], end_of_stream=end_of_stream and at == starts[-1]) for at in starts
    )


def _replaced(chunks: list[bytes], splice: jsonbody.Splice) -> Actions:
    """A reply for each streamed piece up to the last one that changes; the rest passes on as it came."""
    replies: list[Action] = []
    at = 0
    for chunk in chunks:
        if at >= splice.end:
            break
        start, end = max(splice.start - at, 0), min(splice.end - at, len(chunk))
        if start >= len(chunk):
            replies.append(BodyReply())
        else:
            # The new value goes where the old one begins; later pieces only lose what is left of the old one.
            data = splice.data if splice.start >= at else b""
            replies.append(BodyReply(body=chunk[:start] + data + chunk[end:]))
        at += len(chunk)
    return tuple(replies)


def _unchanged(event: Event) -> Actions:
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

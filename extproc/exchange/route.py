"""One HTTP exchange as the filter ``aimesh.route`` shows it: events in, actions out.

``TRANSITIONS`` is the whole machine: what happens to each event in each state. The stream answers as early as it can
and then finishes, so that no gRPC stream lives as long as a model's answer.

How the body comes (``Protocol``) decides how the answer goes back:

- STREAMED, sent without waiting: the reply to the headers is held back until the body is
  complete, so that the model decides the route. One round trip, nothing echoed.
- BUFFERED: the headers are waved through, the reply to the body carries the decision.
- NONE: as BUFFERED, after asking for the body with ``mode_override``, unless Envoy has read the model itself.
- FULL_DUPLEX_STREAMED: held back like the first, but every byte must be echoed.
- A client that sends message after message is not waited for in the second and third: it passes on unrouted.
- Anything else can't re-route safely on a body: such a request passes on unrouted, and a fault is noted.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

from extproc import apis
from extproc.bodies import json_scan
from extproc.bodies.grpc_message import is_grpc
from extproc.bodies.request import (
    BodyEdit,
    BodyFields,
    InferenceRequest,
    Operation,
    RequestFields,
    complete_request,
    request_for_decision,
)
from extproc.envoy.actions import (
    FINISH,
    NO_MUTATION,
    BodyEcho,
    BodyReply,
    HeadersReply,
    Mutation,
    Reject,
    TrailersReply,
)
from extproc.envoy.events import (
    KINDS,
    BodyMode,
    Closed,
    Event,
    Protocol,
    RequestBody,
    RequestHeaders,
    RequestTrailers,
)
from extproc.errors import Rejected, Unreadable
from extproc.exchange.native_body import with_native_model
from extproc.exchange.notes import Action, Fault, Unmatched
from extproc.exchange.replies import client_copies, echo, mutation_of, replaced, unchanged
from extproc.exchange.request_body import Body, too_large
from extproc.headers import Headers
from extproc.policy.decision import Decision, decide
from extproc.policy.pool_load import NO_LOADS
from extproc.policy.snapshot import Snapshot
from extproc.policy.unreadable import refusal

Actions: TypeAlias = tuple[Action, ...]


class State(enum.Enum):
    """Where the exchange is."""

    HEAD = "waiting for the request's headers"
    BODY = "collecting the body"
    ECHO = "decided; echoing the rest of a full-duplex body"
    DONE = "answered, or gone"

    __hash__ = object.__hash__  # by identity: Enum's own is not made for a table on the request's path


# By names of their own: to look one up in its Enum takes as long as to call a function.
_HEAD, _BODY, _ECHO, _DONE = State
_NONE, _STREAMED, _BUFFERED, _, _FULL_DUPLEX, _ = BodyMode


class RouteStream:
    """Reads one request, decides, answers.

    ``view`` stays the same for the whole exchange, whatever is reloaded meanwhile. ``entropy``: fresh random bytes.
    ``free``: the share of each GPU pool that is free, by its name.
    """

    __slots__ = (
        "_body",
        "_entropy",
        "_free",
        "_headers",
        "_mode",
        "_snapshot",
        "_told",
        "decision",
        "operation",
        "state",
    )

    def __init__(self, snapshot: Snapshot, entropy: bytes, free: Mapping[str, float] = NO_LOADS) -> None:
        self.state = _HEAD
        self._told: RequestFields | None = None
        self.decision: Decision | None = None
        self._snapshot, self._entropy, self._free = snapshot, entropy, free
        self.operation, self._headers, self._body, self._mode = _NO_OPERATION, _NO_HEADERS, _NO_BODY, _NONE

    def receive(self, event: Event, now: float) -> Actions:  # noqa: ARG002 - the signature of every exchange
        """What to do about ``event``, in order. Never raises for anything that Envoy or a client sends."""
        return TRANSITIONS[self.state, type(event)](self, event)

    def _on_headers(self, event: RequestHeaders) -> Actions:
        headers = self._headers = event.headers
        operation = apis.classify(headers.text(":method"), headers.text(":path"), headers, self._snapshot.path_prefixes)
        if operation is None:
            return self._pass_on(event, "no_api")
        if event.metadata:
            operation = with_native_model(operation, event, self._snapshot)
        self.operation = operation
        limit = self._body_limit(operation)
        if not limit or (event.end_of_stream and operation.reader is None):
            return self._answer_head(event)
        if event.end_of_stream:
            return self._pass_on(event, "no_body")
        try:
            self._body = Body(headers, limit)
        except Rejected as rejected:
            return self._reject(rejected)
        return self._collect(event)

    def _body_limit(self, operation: Operation) -> int:
        """Bytes of body to read at the most; 0 where none are needed."""
        if operation.reader is not None:
            return self._snapshot.body_limit
        match = self._snapshot.match(operation.model or "") if self._snapshot.reads_keys else None
        sticky = match.policy.sticky if match else None
        return match.policy.body_limit if match and sticky and sticky.body else 0

    def _answer_head(self, event: RequestHeaders) -> Actions:
        """Path and headers tell all: answer at once."""
        try:
            mutation, notes = self._decide(_NOTHING_TOLD, b"")
        except Rejected as rejected:
            return self._reject(rejected)
        return self._wave_on(event, mutation, notes)

    def _pass_on(self, event: RequestHeaders, reason: str) -> Actions:
        """Nothing for us: the request goes on as it came, without routing headers that a client made up."""
        if reason != "no_api" and (rejected := refusal(self._snapshot, reason)):
            return self._reject(rejected)
        return self._wave_on(event, self._cleaned(), (Unmatched(reason),))

    def _wave_on(self, event: RequestHeaders, mutation: Mutation, notes: Actions) -> Actions:
        if _mode(event.protocol) is _FULL_DUPLEX and not event.end_of_stream:
            self.state = _ECHO
            return (*notes, HeadersReply(mutation))
        return self._finish(*notes, HeadersReply(mutation))

    def _collect(self, event: RequestHeaders) -> Actions:
        self.state = _BODY
        protocol, self._mode = event.protocol, _mode(event.protocol)
        if self._mode is _BUFFERED or self._mode is _NONE:
            if self.operation.uploads:
                return self._pass_on(event, "streamed_request")
            asked, self._mode = self._mode is _NONE, _BUFFERED
            return (HeadersReply(NO_MUTATION, _BUFFERED if asked else None),)
        sent = self._mode is _STREAMED and protocol is not None and protocol.send_body_without_waiting
        if sent or self._mode is _FULL_DUPLEX:
            return ()
        return self._finish(Fault("unsafe_body_mode"), HeadersReply(self._cleaned()))

    def _on_body(self, event: RequestBody) -> Actions:
        try:
            self._body.add(event.data)
        except Rejected as rejected:
            return self._reject(rejected)
        # A BUFFERED body comes whole; the end of the stream is not told with it where trailers follow. STREAMED, it may
        # come as an empty piece of its own, or as trailers that are never shown: the length tells it sooner.
        full = self._mode is _BUFFERED or (self._mode is _STREAMED and self._body.full)
        complete = event.end_of_stream or full
        reader = self.operation.reader
        return self._answer_body((), complete) if complete or (reader is not None and reader.early) else ()

    def _on_trailers(self, _: RequestTrailers) -> Actions:
        return self._answer_body((TrailersReply(),), True)

    def _answer_body(self, last: Actions, complete: bool) -> Actions:
        """Enough of the body is there, or all. ``last`` answers the trailers, where they ended the request."""
        try:
            fields = self._body.read(self.operation.reader, complete=complete)
            if fields is None:
                return ()
            mutation, notes = self._decide(fields, self._body.text)
        except Unreadable as unreadable:
            if rejected := refusal(self._snapshot, unreadable.reason):
                return self._reject(rejected)
            mutation, notes = self._cleaned(), (Unmatched(unreadable.reason),)
        except Rejected as rejected:
            return self._reject(rejected)
        change = None
        if self.operation.reader is not None and self.decision is not None and self.decision.model_rewrite:
            change = self._body.rename(self.operation.reader, self.decision.model_rewrite)
        if change is not None:
            # Envoy does not mend the length: streamed, the old one would go upstream with the new body.
            length = (("content-length", str(change.length)),) if "content-length" in self._headers else ()
            unpacked = ("content-encoding",) if change.unpacked else ()
            mutation = Mutation(mutation.set + length, mutation.remove + unpacked, mutation.metadata)
        return self._send(mutation, notes, change.splice if change else None, last, complete)

    def _send(self, mutation: Mutation, notes: Actions, splice: BodyEdit | None, last: Actions, ended: bool) -> Actions:
        """The answer, as the mode of the body wants it."""
        body = self._body
        if self._mode is _BUFFERED:
            return self._finish(*notes, BodyReply(mutation, splice.apply(body.raw) if splice else None), *last)
        if self._mode is _FULL_DUPLEX:
            pieces = echo(splice.apply(body.raw) if splice else body.raw, end_of_stream=ended and not last)
            if not ended:
                self.state = _ECHO
                return (*notes, HeadersReply(mutation), *pieces)
            return self._finish(*notes, HeadersReply(mutation), *pieces, *last)
        return self._finish(*notes, HeadersReply(mutation), *(replaced(body.sizes, body.raw, splice) if splice else ()))

    def _echo_body(self, event: RequestBody) -> Actions:
        echoed = BodyEcho(event.data, event.end_of_stream)
        return self._finish(echoed) if event.end_of_stream else (echoed,)

    def _echo_trailers(self, _: RequestTrailers) -> Actions:
        return self._finish(TrailersReply())

    def _out_of_order(self, event: Event) -> Actions:
        """Envoy sent what it can't: answer with no change, so that it does not wait, and leave."""
        held_back = self.state is _BODY and self._mode is not _BUFFERED
        replies: Actions = (HeadersReply(self._cleaned()),) if held_back else ()
        return self._finish(Fault("unexpected_" + event.kind), *replies, *unchanged(event))

    def _ignore(self, _: Event) -> Actions:
        return ()

    def _late(self, event: Event) -> Actions:
        return (Fault("late_" + event.kind),)

    def _closed(self, _: Closed) -> Actions:
        self.state = _DONE
        self._body = _NO_BODY
        return ()

    @property
    def asked(self) -> InferenceRequest | None:
        """The whole request, once it has been read."""
        return None if self._told is None else complete_request(self.operation, self._told)

    def _decide(self, with_native_model: RequestFields, body: bytes) -> tuple[Mutation, Actions]:
        """Raises ``Rejected``."""
        operation = self.operation
        self._told = with_native_model
        asked = request_for_decision(operation, with_native_model)
        key = self._body_key(asked, body) if self._snapshot.reads_keys and body else None
        decision = self.decision = decide(asked, self._headers, self._snapshot, self._entropy, key, self._free)
        if decision.policy is None:
            return self._cleaned(), (Unmatched("no_policy" if asked.model else "no_model"),)
        if len(body) > decision.policy.body_limit:
            raise too_large(decision.policy.body_limit)
        mutation = mutation_of(decision)
        removed = client_copies(self._headers, mutation.set)
        if decision.model_rewrite and operation.rename is not None:
            setting = (*mutation.set, operation.rename(decision.model_rewrite))
            return Mutation(setting, removed, mutation.metadata), ()
        return Mutation(mutation.set, removed, mutation.metadata) if removed else mutation, ()

    def _body_key(self, asked: InferenceRequest, body: bytes) -> str | None:
        match = self._snapshot.match(asked.model)
        pointer = match.policy.sticky.body if match and match.policy.sticky else ()
        return json_scan.scalar_at(body, pointer) if pointer else None

    def _cleaned(self) -> Mutation:
        return Mutation(remove=client_copies(self._headers), metadata=self._known())

    def _reject(self, rejected: Rejected) -> Actions:
        known, grpc = self._known(), is_grpc(self._headers)
        return self._finish(Reject(rejected.status, rejected.code, rejected.message, known, grpc))

    def _known(self) -> tuple[tuple[str, str], ...]:
        """Metadata of a request on which nothing was decided, or that is refused all the same."""
        if self.decision is not None:
            return self.decision.metadata()
        operation = self.operation
        return (("api", operation.api), ("operation", operation.name)) if operation.api else ()

    def _finish(self, *actions: Action) -> Actions:
        self.state = _DONE
        self._body = _NO_BODY
        return (*actions, FINISH)


_NO_HEADERS = Headers()
_NOTHING_TOLD = BodyFields()
_NO_BODY = Body(_NO_HEADERS, 0)
_NO_OPERATION = Operation("", "")

# Envoy can send only what the second table lists; whatever else comes finds its row in the first.
TRANSITIONS: dict[tuple[State, type[Event]], Callable[[RouteStream, Any], Actions]] = {
    (state, kind): RouteStream._late if state is _DONE else RouteStream._out_of_order
    for state in State
    for kind in KINDS
} | {
    (_HEAD, RequestHeaders): RouteStream._on_headers,
    (_HEAD, Closed): RouteStream._closed,
    (_BODY, RequestBody): RouteStream._on_body,
    (_BODY, RequestTrailers): RouteStream._on_trailers,
    (_ECHO, RequestBody): RouteStream._echo_body,
    (_ECHO, RequestTrailers): RouteStream._echo_trailers,
    (_BODY, Closed): RouteStream._closed,
    (_ECHO, Closed): RouteStream._closed,
    # After the answer, pieces of the body may still be under way to us: nobody waits for a reply to them.
    (_DONE, RequestBody): RouteStream._ignore,
    (_DONE, RequestTrailers): RouteStream._ignore,
    (_DONE, Closed): RouteStream._ignore,
}


def _mode(protocol: Protocol | None) -> BodyMode:
    """An Envoy that tells nothing is an old one: those are rendered BUFFERED."""
    return _BUFFERED if protocol is None else protocol.request_body

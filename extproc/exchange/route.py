"""One HTTP exchange as the filter ``aimesh.route`` shows it: events in, actions out.

``TRANSITIONS`` is the whole machine: what happens to each event in each state. The stream answers as early as it can
and then finishes, so that no gRPC stream lives as long as a model's answer. How a body comes and how the decision goes
back in each mode: see ``body_mode``.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from extproc import apis
from extproc.apis.mcp import INITIALIZE
from extproc.bodies.request import (
    BodyFields,
    InferenceRequest,
    Operation,
    Reader,
    RequestFields,
    complete_request,
    request_for_decision,
)
from extproc.envoy.actions import FINISH, NO_MUTATION, BodyEcho, HeadersReply, Mutation, TrailersReply
from extproc.envoy.events import KINDS, BodyMode, Closed, Event, RequestBody, RequestHeaders, RequestTrailers
from extproc.errors import Rejected, Unreadable
from extproc.exchange.body_mode import Actions, can_hold_back, is_complete, mode_of, replies, with_body_change
from extproc.exchange.breakers import Breakers
from extproc.exchange.listed_models import listed_models
from extproc.exchange.native_body import with_native_model
from extproc.exchange.notes import Fault, Unmatched
from extproc.exchange.refusals import refused
from extproc.exchange.replies import client_copies, own_mutation, routing_mutation, unchanged
from extproc.exchange.request_body import Body, body_key, bytes_needed, too_large
from extproc.exchange.sampling import AdaptiveShares, with_sampling
from extproc.exchange.session_place import SetHeaders, session_place
from extproc.headers import Headers
from extproc.policy import unowned_requests
from extproc.policy.decision import UNOWNED, Decision, decide, follow
from extproc.policy.pool_load import NO_REPORTS
from extproc.policy.session_tag import Place
from extproc.policy.snapshot import Snapshot
from extproc.policy.target import NOTHING_DOWN, united
from extproc.policy.unreadable_requests import NO_API, is_owned, refusal

if TYPE_CHECKING:
    from extproc.exchange.picks import Picks  # numpy takes a tenth of a second to load


class State(enum.Enum):
    """Where the exchange is."""

    HEAD = "waiting for the request's headers"
    BODY = "collecting the body"
    ECHO = "decided; echoing the rest of a full-duplex body"
    DONE = "answered, or gone"

    __hash__ = object.__hash__  # by identity: Enum's own is slow for a table on the request's path


# Names of their own: access to a member of an Enum takes as long as a call.
_HEAD, _BODY, _ECHO, _DONE = State
_NONE, _BUFFERED, _FULL_DUPLEX = BodyMode.NONE, BodyMode.BUFFERED, BodyMode.FULL_DUPLEX_STREAMED


class RouteStream:
    """Reads one request, decides, answers.

    ``snapshot`` stays the same for the whole exchange, whatever is reloaded meanwhile. ``entropy``: fresh random bytes.
    ``free_shares``: the share of each GPU pool that is free, by its name. ``shares``: of the answers to observe
    (``exchange.sampling``); None: of all. ``down``: clusters of targets that can't be reached. ``breakers``, ``picks``:
    None: no policy has them.
    """

    __slots__ = (
        *("_body", "_breakers", "_down", "_entropy", "_fields", "_free_shares", "_headers", "_mode", "_path", "_picks"),
        *("_diverted", "_place", "_shares", "_snapshot", "_subset", "decision", "operation", "state"),
    )

    def __init__(
        self,
        snapshot: Snapshot,
        entropy: bytes,
        free_shares: Mapping[str, float] = NO_REPORTS,
        shares: AdaptiveShares | None = None,
        down: frozenset[str] = NOTHING_DOWN,
        breakers: Breakers | None = None,
        picks: Picks | None = None,
    ) -> None:
        self.state, self._snapshot, self._entropy = _HEAD, snapshot, entropy
        self._fields: RequestFields | None = None
        self.decision: Decision | None = None
        self._down = united(down, vacant) if (vacant := snapshot.vacant) else down
        self._free_shares, self._shares, self._breakers, self._picks = free_shares, shares, breakers, picks
        self.operation, self._headers, self._body, self._mode = _NO_OPERATION, _NO_HEADERS, _NO_BODY, _NONE
        self._place: Place | None = None
        self._subset: tuple[str, ...] | None = None
        self._path: SetHeaders = ()
        self._diverted: Actions = ()

    @property
    def request(self) -> InferenceRequest | None:
        """The whole inference request; None where it has not been read."""
        return None if self._fields is None else complete_request(self.operation, self._fields)

    def receive(self, event: Event) -> Actions:
        """What to do about ``event``, in order. Never raises for anything that Envoy or a client sends."""
        try:
            return TRANSITIONS[self.state, type(event)](self, event)
        except Rejected as rejected:
            answer = refused(rejected, self.operation, self._metadata(), self._headers)
            return self._finish((*self._diverted, *rejected.notes, answer))

    def _on_headers(self, event: RequestHeaders) -> Actions:
        headers, self._subset = event.headers, event.subset
        self._headers = headers
        operation = apis.classify(headers.text(":method"), headers.text(":path"), headers, self._snapshot.path_prefixes)
        if operation is None or (operation.any_path and self._snapshot.has_keys):
            answer = listed_models(headers, self._snapshot)
            return self._decide_by_headers(event, NO_API) if answer is None else self._finish((answer,))
        if operation.stateful:
            self._place, self._path = session_place(operation, headers, self._snapshot)
        if event.metadata:
            operation = with_native_model(operation, event, self._snapshot)
        self.operation = operation
        limit = bytes_needed(operation, self._snapshot)
        if not limit or (event.end_of_stream and operation.reader is None):
            return self._decide_by_headers(event)
        if event.end_of_stream:
            return self._decide_by_headers(event, "no_body")
        try:
            self._body = Body(headers, limit)
        except Rejected:
            if not operation.shared:
                raise
            return self._decide_by_headers(event, NO_API)
        return self._collect(event)

    def _decide_by_headers(self, event: RequestHeaders, unread: str = "") -> Actions:
        """Path and headers have all that a decision needs, or ``unread`` says why no model is read."""
        mutation, notes = self._unread(unread) if unread else self._decide(_NO_FIELDS, b"")
        return self._answer_headers(event, mutation, notes)

    def _answer_headers(self, event: RequestHeaders, mutation: Mutation, notes: Actions) -> Actions:
        if mode_of(event.protocol) is _FULL_DUPLEX and not event.end_of_stream:
            self.state = _ECHO
            return (*notes, HeadersReply(mutation))
        return self._finish((*notes, HeadersReply(mutation)))

    def _collect(self, event: RequestHeaders) -> Actions:
        self.state = _BODY
        mode = self._mode = mode_of(event.protocol)
        if mode is _BUFFERED or mode is _NONE:
            if self.operation.uploads:
                return self._decide_by_headers(event, "streamed_request")
            self._mode = _BUFFERED
            return _ASK_FOR_BODY if mode is _NONE else _GO_ON
        if can_hold_back(mode, event.protocol):
            return ()
        return self._finish((Fault("unsafe_body_mode"), HeadersReply(self._cleaning())))

    def _on_body(self, event: RequestBody) -> Actions:
        self._body.add(event.data)
        complete = is_complete(self._mode, self._body, end_of_stream=event.end_of_stream)
        reader = self.operation.reader
        return self._decide_by_body((), complete) if complete or (reader is not None and reader.early) else ()

    def _on_trailers(self, _: RequestTrailers) -> Actions:
        return self._decide_by_body((TrailersReply(),), True)

    def _decide_by_body(self, trailers: Actions, complete: bool) -> Actions:
        """Enough of the body is there, or all. ``trailers``: the reply to those that ended the request."""
        body, reader = self._body, self.operation.reader
        if (decided := self._read(body, reader, complete)) is None:
            return ()
        mutation, notes = decided
        rewrite = self.decision.model_rewrite if self.decision is not None and self.decision.request.model else ""
        change = body.rename(reader, rewrite) if reader is not None and rewrite else None
        if change is not None:
            mutation = with_body_change(mutation, change, self._headers)
        answer = replies(self._mode, mutation, body, change.splice if change else None, trailers, complete)
        if self._mode is _FULL_DUPLEX and not complete:
            self.state = _ECHO
            return (*notes, *answer)
        return self._finish((*notes, *answer))

    def _read(self, body: Body, reader: Reader | None, complete: bool) -> tuple[Mutation, Actions] | None:
        """What comes of the body; None where more of it is needed."""
        try:
            fields = body.read(reader, complete=complete)
            return None if fields is None else self._decide(fields, body.text)
        except Unreadable as unreadable:
            return self._unread(unreadable.reason)

    def _unread(self, reason: str) -> tuple[Mutation, Actions]:
        """To its session's place, to who owns everything, or on as it came, but for routing headers of the client's."""
        if reason == NO_API or self.operation.shared:
            reason, self.operation = NO_API, _NO_OPERATION
        if rejected := refusal(self._snapshot, reason):
            raise rejected
        if self._place is None and not is_owned(self._snapshot):
            return self._cleaning(), (Unmatched(reason),)
        return self._decide(_NO_FIELDS, b"")

    def _echo_body(self, event: RequestBody) -> Actions:
        echoed = BodyEcho(event.data, event.end_of_stream)
        return self._finish((echoed,)) if event.end_of_stream else (echoed,)

    def _echo_trailers(self, _: RequestTrailers) -> Actions:
        return self._finish((TrailersReply(),))

    def _out_of_order(self, event: Event) -> Actions:
        """An event that Envoy cannot send here: answers without a change, so that Envoy does not wait, and finishes."""
        held_back = self.state is _BODY and self._mode is not _BUFFERED
        owed: Actions = (HeadersReply(self._cleaning()),) if held_back else ()
        return self._finish((Fault("unexpected_" + event.kind), *owed, *unchanged(event)))

    def _ignore(self, _: Event) -> Actions:
        return ()

    def _late(self, event: Event) -> Actions:
        return (Fault("late_" + event.kind),)

    def _closed(self, _: Closed) -> Actions:
        self._finish(())
        return ()

    def _decide(self, fields: RequestFields, body: bytes) -> tuple[Mutation, Actions]:
        """The decision's mutation, and notes."""
        self._fields = fields
        request = request_for_decision(self.operation, fields)
        key = body_key(self._snapshot, request.model, body) if self._snapshot.reads_bodies and body else None
        if self._place is not None and request.operation != INITIALIZE:
            decision = follow(request, self._place, self._snapshot)
        else:
            stateful, shares = self.operation.stateful, self._free_shares
            decision = decide(request, self._headers, self._snapshot, self._entropy, key, shares, stateful, self._down)
        self.decision = decision
        if decision.policy is None:
            if rejected := unowned_requests.refusal(self._snapshot, request.model):
                raise rejected
            return self._cleaning(), (Unmatched("no_policy" if request.model else "no_model"),)
        if len(body) > decision.policy.body_limit:
            raise too_large(decision.policy.body_limit)
        asked = self._headers, key, self._entropy
        if self._breakers is not None and decision.policy.breaker is not None:
            stays = self._place is not None or self.operation.stateful
            decision, self._diverted = self._breakers.admit(decision, asked, self._snapshot, self._down, stays)
        self.decision, endpoints, notes = decision, decision.endpoint, self._diverted
        if self._picks is not None and decision.policy is not None and decision.policy.picking is not None:
            content = self.operation, fields, body
            endpoints, picked = self._picks.pick(decision, asked, content, self._subset, self._snapshot)
            notes = (*notes, picked)
        mutation = routing_mutation(decision, self._headers, self.operation.rename)
        streamed = self.operation.stream or fields.stream
        mutation = with_sampling(mutation, decision, self._entropy, self._shares, streamed)
        return own_mutation(mutation, self._path, endpoints), notes

    def _cleaning(self) -> Mutation:
        """Removes routing headers that the client sent and the tag of a session's id, and tells that nobody owns it."""
        return Mutation(self._path, client_copies(self._headers), (*self._metadata(), _UNOWNED))

    def _metadata(self) -> tuple[tuple[str, str], ...]:
        """Of a request without a decision, or that is refused despite one."""
        if self.decision is not None:
            return self.decision.metadata()
        return (("api", self.operation.api), ("operation", self.operation.name)) if self.operation.api else ()

    def _finish(self, actions: Actions) -> Actions:
        self.state = _DONE
        self._body = _NO_BODY
        return (*actions, FINISH)


_NO_HEADERS, _NO_FIELDS = Headers(), BodyFields()
_NO_BODY = Body(_NO_HEADERS, 0)
_NO_OPERATION = Operation("", "")
_UNOWNED = ("cohort", UNOWNED)
_ASK_FOR_BODY, _GO_ON = (HeadersReply(NO_MUTATION, _BUFFERED),), (HeadersReply(NO_MUTATION),)

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

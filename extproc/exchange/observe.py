"""The state of one HTTP exchange as the filter ``aimesh.observe`` shows it: events in, notes out.

The filter runs in observability mode: Envoy never waits for us and ignores replies, so there are none; only notes, and
``Finish`` as soon as nothing more is needed: of most streams, where there are many, after the first token. What the
exchange is about comes with every message as the dynamic metadata that ``aimesh.route`` wrote. A refusal by
``aimesh.route`` shows here as response headers without a request.
An exchange that opens a session of a realtime API holds many answers: each of them is noted, and the exchange is not.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from extproc.answers import AnswerReader, RealtimeSession, SessionAnswer, answer_reader, realtime_session
from extproc.answers.client_errors import GRPC_STATUSES
from extproc.apis import classify
from extproc.envoy.actions import FINISH
from extproc.envoy.events import (
    Closed,
    Event,
    RequestHeaders,
    ResponseBody,
    ResponseHeaders,
    ResponseTrailers,
)
from extproc.exchange.custom_metric_values import CustomMetricValues, custom_samples
from extproc.exchange.notes import BROKEN_OFF, CLIENT_ERROR, SHED, Action, Fault, LoadReport
from extproc.exchange.request_outcome import MAX_CALLER, MAX_REQUEST_ID, REQUEST_ID, counts_by_itself
from extproc.exchange.sampling import end_share_told, share_told
from extproc.exchange.timed_answer import ObservedExchange, TimedAnswer, observed
from extproc.headers import DESTINATION_ENDPOINT, LINKERD_CLIENT, Headers
from extproc.policy.load_report import LOAD_HEADER, parse_load_header
from extproc.policy.snapshot import OTHER, Snapshot

MAX_RATE = 512 << 10
"""Bytes per second of an answer, from its request on, compressed ones without their compression; as many again are
free. No model writes as fast."""
_EVENT_SIZE = 256
"""Bytes that an event counts as, at least: to read a shorter one takes as long."""
_LARGE_PIECE, _MAX_LINES = 32 << 10, 1000
"""Bytes of one piece of a stream from which on its lines are counted, and how many it may have: reading more would
delay other streams."""
DEFERRED_CLOSE_TIMEOUT = 1.0
"""Seconds after which Envoy tells us that an exchange was broken off (``deferred_close_timeout``)."""


class ObserveStream:
    """Watches one exchange to its end. All times are seconds of one monotonic clock."""

    __slots__ = (
        *("_accounted", "_caller", "_code", "_done", "_end_share", "_first_token", "_goes_on", "_last_event"),
        *("_last_token", "_metadata"),
        *("_metric_values", "_picked", "_reader", "_received", "_request_id", "_served", "_session", "_snapshot"),
        *("_started", "_traceparent"),
    )

    def __init__(self, snapshot: Snapshot, *, accounted: bool = False) -> None:
        """``accounted``: Envoy's access log tells of the exchange, too (``exchange.request_outcome``). Any other is
        observed to its end whatever was drawn, since nobody else counts it.
        """
        self._accounted = accounted
        self._snapshot = snapshot
        self._metadata: Mapping[str, str] = {}
        self._started: float | None = None
        self._code = self._caller = self._request_id = self._traceparent = ""
        self._picked = self._served = ""  # servers
        self._reader: AnswerReader | None = None
        self._session: RealtimeSession | None = None
        self._metric_values: CustomMetricValues | None = None
        self._end_share = 1.0  # of the streams that are read to their ends; 0: this one is not
        self._goes_on = False  # its first token has come, and it has not ended with it
        self._first_token: float | None = None
        self._last_token: float | None = None
        self._last_event = 0.0
        self._received = 0  # bytes of the response's body
        self._done = False

    def receive(self, event: Event, now: float) -> tuple[Action, ...]:
        """What ``event`` gives to note. Events are taken in any order: an observer cannot refuse one."""
        if self._done:
            return ()
        # By type, in the order of how often they come: `match` tests every class before the right one.
        if type(event) is ResponseBody:
            return self._on_body(event, now)
        if type(event) is ResponseHeaders:
            return self._on_headers(event, now)
        if type(event) is ResponseTrailers:
            return (*self._end(now, _grpc_error(event.headers)), FINISH)
        if type(event) is Closed:
            if self._code or self._started is not None:
                return self._end(max(self._last_event, now - DEFERRED_CLOSE_TIMEOUT), "client_left")
            self._done = True
        elif type(event) is RequestHeaders:
            self._started = self._last_event = now
            self._metadata = event.metadata if "api" in event.metadata else self._classified(event)
            self._traceparent = event.headers.text("traceparent")
            self._request_id = event.headers.text(REQUEST_ID)[:MAX_REQUEST_ID]
            self._caller = (event.peer or event.headers.text(LINKERD_CLIENT))[:MAX_CALLER]
            self._picked = event.headers.text(DESTINATION_ENDPOINT)
        return ()

    @property
    def time_to_first_token(self) -> float | None:
        """Seconds; None while none has come."""
        return None if self._first_token is None or self._started is None else self._first_token - self._started

    def exceeds_rate(self, now: float) -> bool:
        """The answer comes faster than any model writes."""
        source = self._reader or self._session
        size = self._received
        size = size if source is None else max(size + source.expanded, _EVENT_SIZE * source.events)
        return size > MAX_RATE * (1 + now - (now if self._started is None else self._started))

    def abandon(self, *, closed: bool = False) -> tuple[Action, ...]:
        """Stops watching, since we cannot keep up; not before the status is known, unless the exchange is ``closed``.

        Envoy may have given up on us then, and not its client on the answer.
        """
        if self._done or not (self._code or closed):
            return ()
        notes = self._end_answer(None, SHED) if self._session is None else self._end_session(None, SHED)
        return (Fault("observer_overload"), *notes, FINISH)

    def _classified(self, event: RequestHeaders) -> Mapping[str, str]:
        """The metadata with API and operation, by the path: at a model server no ``aimesh.route`` wrote them."""
        headers = event.headers
        if not (path := headers.text(":path")):
            return event.metadata
        operation = classify(headers.text(":method"), path, headers, self._snapshot.path_prefixes)
        if operation is None:
            return event.metadata
        return {**event.metadata, "api": operation.api, "operation": operation.name}

    def _on_headers(self, event: ResponseHeaders, now: float) -> tuple[Action, ...]:
        headers = event.headers
        code = headers.text(":status")
        if len(code) != 3 or not (code.isascii() and code.isdecimal()):
            code = code and OTHER  # a label's value is never a text of a peer's
        self._last_event = now
        self._metadata = metadata = self._metadata or event.metadata
        if code[:1] == "1" and code != "101" and not event.end_of_stream:
            return ()  # an interim response
        self._code, self._served = code, event.served
        load = self._load_report(headers)
        if self._started is not None and (elapsed := _elapsed(headers)) is not None:
            # By Envoy's clock, from the request's first byte: our own starts when the decision was made. A refusal by
            # `aimesh.route`, of which no request is seen here, has no duration.
            self._started = now - elapsed
        policy = self._exchange().policy
        values = None
        if policy is not None and policy.custom_metrics:
            values = self._metric_values = CustomMetricValues(policy.custom_metrics)
            values.head(headers)
        if self._accounted:
            if not share_told(metadata):
                self._done = True
                return (*load, FINISH)
            self._end_share = end_share_told(metadata)
        if "api" not in metadata:
            return (*load, *self._end_answer(None), FINISH)  # counted, not timed
        api, operation = metadata["api"], metadata.get("operation", "")
        if code == "101":
            self._session = realtime_session(api, operation, headers)
            if self._session is not None:
                return (*load, *self._feed_session(self._session, b"", now))
        if event.end_of_stream or code[:1] != "2":
            return (*load, *self._end(now, _grpc_error(headers) if code[:1] == "2" else ""), FINISH)
        on_document = values.document if values is not None and values.reads_documents else None
        self._reader = answer_reader(api, operation, headers, on_document)
        return load

    def _on_body(self, event: ResponseBody, now: float) -> tuple[Action, ...]:
        self._last_event = now
        data, reader = event.data, self._reader
        self._received += len(data)
        if reader is not None:
            if len(data) > _LARGE_PIECE and reader.streamed and data.count(b"\n") > _MAX_LINES:
                return self.abandon()
            if reader.feed(data):
                self._last_token = now
                if self._first_token is None:
                    self._first_token = now
                    self._goes_on = reader.streamed and not (reader.state.over or event.end_of_stream)
                    if self._goes_on and not self._end_share:
                        return self._leave(reader)
            if reader.state.over:
                return (*self._end(now), FINISH)
        elif self._session is not None:
            notes = self._feed_session(self._session, data, now)
            return (*notes, *self._end(now), FINISH) if event.end_of_stream and not self._done else notes
        return (*self._end(now), FINISH) if event.end_of_stream else ()

    def _leave(self, reader: AnswerReader) -> tuple[Action, ...]:
        """Notes when the first token of a stream came that is not read to its end."""
        self._done = True
        answer = TimedAnswer(reader, self._started, self._first_token, None, None, left=True)
        return (observed(self._exchange(), answer), FINISH)

    def _feed_session(self, session: RealtimeSession, data: bytes, now: float) -> tuple[Action, ...]:
        """Takes what the server of a session sends; ends the session where it is closed or cannot be read."""
        notes = self._session_notes(session.feed(data, now))
        if session.malformed:
            return (*notes, Fault("unreadable_answer"), *self._end_session(None, ""), FINISH)
        return (*notes, *self._end_session(now, closed), FINISH) if (closed := session.closed) else notes

    def _end(self, now: float, error: str = "") -> tuple[Action, ...]:
        """The exchange has ended, or all of it that we need. ``error``: unless the answer itself says more."""
        reader = self._reader
        if self._session is not None:
            return self._end_session(now, (not self._session.gone and error) or "cut_short")
        if reader is None:
            return self._end_answer(now, error)
        if reader.end():
            self._last_token = now
            self._first_token = now if self._first_token is None else self._first_token
        if reader.state.failed:
            error = "error_in_stream"
        elif reader.state.client_error:
            error = CLIENT_ERROR
        elif not error and reader.has_end_mark and not reader.state.complete and not reader.malformed:
            error = "cut_short"
        notes = self._end_answer(now, error)
        return (Fault("unreadable_answer"), *notes) if reader.malformed else notes

    def _end_answer(self, ended: float | None, error: str = "") -> tuple[Action, ...]:
        """Notes the exchange's only answer. ``ended``: None where it is not known when."""
        self._done = True
        self._accounted = self._accounted and not counts_by_itself(self._code, self._metadata)
        if self._accounted and not share_told(self._metadata):
            return ()  # left out of the sample, and closed before its status was known
        if self._accounted and error == "client_left":
            error = BROKEN_OFF
        return self._notes(TimedAnswer(self._reader, self._started, self._first_token, self._last_token, ended, error))

    def _end_session(self, ended: float | None, error: str) -> tuple[Action, ...]:
        """Notes the answers of the session that have not ended, as broken off with ``error``."""
        self._done = True
        return () if self._session is None else self._session_notes(self._session.leave(ended, error))

    def _session_notes(self, answers: Sequence[SessionAnswer]) -> tuple[Action, ...]:
        notes: list[Action] = []
        values = self._metric_values
        for answer in answers:
            if values is not None:
                values.document(answer.last_event)
            notes += self._notes(
                TimedAnswer(
                    answer.reader, answer.began, answer.first_token, answer.last_token, answer.ended, answer.error
                )
            )
            if values is not None:
                values.forget()
        return tuple(notes)

    def _notes(self, answer: TimedAnswer) -> tuple[Action, ...]:
        """Of one answer: what was observed, and what it adds to the policy's custom metrics."""
        exchange = self._exchange()
        found = observed(exchange, answer)
        if self._metric_values is None or exchange.policy is None:
            return (found,)
        values = self._metric_values.found
        return (found, *custom_samples(exchange.policy.custom_metrics, found, exchange.gpu_type, values))

    def _exchange(self) -> ObservedExchange:
        accounted = self._accounted and self._session is None
        share = share_told(self._metadata) if accounted else 1.0
        return ObservedExchange(
            *(self._snapshot, self._metadata, self._code, self._caller, self._traceparent, accounted, self._request_id),
            *(self._picked, self._served),
            # Of an answer that ended with its first token, or before it, all is known wherever it was observed.
            share=(self._end_share or share) if accounted and self._goes_on else share,
            first_token_share=share,
            read_to_end=self._end_share > 0,
        )

    def _load_report(self, headers: Headers) -> tuple[Action, ...]:
        """How busy the server is that answers, where its response headers say so."""
        pool = self._snapshot.pool_by_name.get(self._metadata.get("gpu_pool", ""))
        if pool is None or LOAD_HEADER not in headers:
            return ()
        load = parse_load_header(headers.text(LOAD_HEADER))
        return () if load is None else (LoadReport(pool.name, load),)


def _elapsed(headers: Headers) -> float | None:
    """Seconds from the request's first byte to the response's, as Envoy says in ``server-timing``; None if it doesn't.

    Envoy cuts them to whole milliseconds: half of one is added.
    """
    _, found, rest = (headers.get("server-timing") or b"").rpartition(b"total;dur=")
    digits = rest.partition(b";")[0].partition(b",")[0]
    return (int(digits) + 0.5) / 1000 if found and digits.isdigit() and len(digits) < 10 else None


def _grpc_error(headers: Headers) -> str:
    """gRPC's trailers say how a call ended, under the HTTP status 200."""
    status = headers.text("grpc-status")
    if status in ("", "0"):
        return ""
    return CLIENT_ERROR if status in GRPC_STATUSES else "error_in_stream"

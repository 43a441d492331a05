"""The timing of one HTTP exchange, as the filter ``aimesh.observe`` shows it.

The filter runs in observability mode: Envoy never waits for us and ignores replies, so there are none; only notes, and
``Finish`` as soon as nothing more is needed. What the exchange is about comes with every message as the dynamic
metadata that ``aimesh.route`` wrote. A refusal by ``aimesh.route`` shows here as response headers without a request.
An exchange that opens a session of a realtime API holds many answers: each of them is noted, and the exchange is not.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from extproc.answers import AnswerReader, RealtimeSession, SessionAnswer, answer_reader, realtime_session
from extproc.apis import NAMES as API_NAMES
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
from extproc.exchange.notes import SHED, Action, Fault, LoadReport, Observed
from extproc.headers import LINKERD_CLIENT, Headers
from extproc.policy.load_report import LOAD_HEADER, parse_load_header
from extproc.policy.snapshot import NONE, OTHER, Policy, Snapshot

_ASKED = 256
"""Characters of a model's name that a client made up."""
_CALLER = 256
"""Characters of an identity."""
FREE = 512 << 10
"""Bytes of an answer that are never too many, and as many again for each second that it takes."""

_LARGE, _LINES = 32 << 10, 1000
"""Bytes and lines of one piece of a stream: no model writes as much at once, and reading it would hold up others."""
DEFERRED = 1.0
"""Seconds after which Envoy tells that an exchange was broken off (``deferred_close_timeout``)."""

_TOTAL = b"total;dur="


class ObserveStream:
    """Watches one exchange to its end. All times are seconds of one monotonic clock."""

    __slots__ = (
        *("_caller", "_code", "_done", "_draw", "_first", "_last", "_metadata", "_numbers", "_reading", "_received"),
        *("_seen", "_session", "_started", "_traceparent", "_snapshot"),
    )

    def __init__(self, snapshot: Snapshot, draw: float = 0.0) -> None:
        """``draw``: a fresh random number from 0 to 1, which decides whether a sampled answer is read."""
        self._snapshot = snapshot
        self._draw = draw
        self._metadata: Mapping[str, str] = {}
        self._started: float | None = None
        self._code = ""
        self._traceparent = ""
        self._caller = ""
        self._reading: AnswerReader | None = None
        self._session: RealtimeSession | None = None
        self._numbers: CustomMetricValues | None = None
        self._first: float | None = None
        self._last: float | None = None
        self._seen = 0.0  # when anything came
        self._received = 0
        self._done = False

    def receive(self, event: Event, now: float) -> tuple[Action, ...]:
        """Notes what ``event`` tells. Any event in any order is taken as it is: an observer can't refuse one."""
        if self._done:
            return ()
        # By type: to see that a message is none of a class takes `match` as long as the rest takes.
        if type(event) is ResponseBody:
            return self._on_body(event, now)
        if type(event) is ResponseHeaders:
            return self._on_head(event, now)
        if type(event) is ResponseTrailers:
            return self._end(now, _grpc_error(event.headers))
        if type(event) is Closed:
            if self._code or self._started is not None:
                return self._end(max(self._seen, now - DEFERRED), "client_left")[:-1]
            self._done = True
        elif type(event) is RequestHeaders:
            self._started = self._seen = now
            self._metadata = event.metadata if "api" in event.metadata else self._classified(event)
            self._traceparent = event.headers.text("traceparent")
            self._caller = (event.peer or event.headers.text(LINKERD_CLIENT))[:_CALLER]
        return ()

    def _classified(self, event: RequestHeaders) -> Mapping[str, str]:
        """The metadata with the API, by the path: it is shown where no ``aimesh.route`` is, at the model server."""
        headers = event.headers
        if not (path := headers.text(":path")):
            return event.metadata
        asked = classify(headers.text(":method"), path, headers, self._snapshot.path_prefixes)
        return event.metadata if asked is None else {**event.metadata, "api": asked.api, "operation": asked.name}

    def busy(self, now: float) -> bool:
        """The answer comes faster than any model writes."""
        return self._received > FREE * (1 + now - (now if self._started is None else self._started))

    def shed(self, *, closed: bool = False) -> tuple[Action, ...]:
        """We can't keep up: leaves this exchange alone, as soon as its status is known. ``closed``: it is gone, and
        Envoy may have given up on us, not its client on the answer.
        """
        if self._done or not (self._code or closed):
            return ()
        left = self._note(None, SHED) if self._session is None else self._leave(self._session, None, SHED)
        return (Fault("observer_overload"), *left)

    def _on_head(self, event: ResponseHeaders, now: float) -> tuple[Action, ...]:
        headers = event.headers
        code = headers.text(":status")
        if len(code) != 3 or not (code.isascii() and code.isdecimal()):
            code = code and OTHER  # a label's value is no text of a peer's
        self._seen = now
        self._metadata = self._metadata or event.metadata
        if code[:1] == "1" and code != "101" and not event.end_of_stream:
            return ()  # not the answer yet
        self._code = code
        told = self._load(headers)
        if (elapsed := _elapsed(headers)) is not None:
            # By Envoy's clock, from the request's first byte: without the time that the decision took it would be less.
            self._started = now - elapsed
        metadata = self._metadata
        policy = self._policy()
        if policy is not None and policy.custom_metrics:
            self._numbers = CustomMetricValues(policy.custom_metrics)
            self._numbers.head(headers)
        if "api" not in metadata or (policy is not None and self._draw >= policy.sampling):
            return (*told, *self._note(None))  # counted, not timed
        if event.end_of_stream or code[:1] != "2":
            if code == "101":
                self._session = realtime_session(metadata["api"], metadata.get("operation", ""), headers)
                if self._session is not None:
                    return (*told, *self._heard(self._session, b"", now))
            return (*told, *self._end(now, _grpc_error(headers) if code[:1] == "2" else ""))
        numbers = self._numbers
        each = numbers.document if numbers is not None and numbers.reads_documents else None
        self._reading = answer_reader(metadata["api"], metadata.get("operation", ""), headers, each)
        return told

    def _on_body(self, event: ResponseBody, now: float) -> tuple[Action, ...]:
        self._seen = now
        data, found = event.data, self._reading
        self._received += len(data)
        if found is not None:
            if len(data) > _LARGE and found.streamed and data.count(b"\n") > _LINES:
                return self.shed()
            if found.feed(data):
                self._last = now
                if self._first is None:
                    self._first = now
            if found.told.over:
                return self._end(now)
        elif self._session is not None:
            notes = self._heard(self._session, data, now)
            return (*notes, *self._end(now)) if event.end_of_stream and not self._done else notes
        return self._end(now) if event.end_of_stream else ()

    def _heard(self, realtime_session: RealtimeSession, data: bytes, now: float) -> tuple[Action, ...]:
        """What the server of a session says."""
        ended = realtime_session.feed(data, now)
        notes = self._each(ended) if ended else ()
        if realtime_session.broken:
            return (*notes, Fault("unreadable_answer"), *self._leave(realtime_session, None, ""))
        return (*notes, *self._leave(realtime_session, now, closed)) if (closed := realtime_session.closed) else notes

    def _leave(self, realtime_session: RealtimeSession, now: float | None, error: str) -> tuple[Action, ...]:
        """A session is over, for us at least: answers that have not ended are broken off."""
        notes = self._each(realtime_session.leave(now, error))
        self._done = True
        return (*notes, FINISH)

    def _each(self, answers: Sequence[SessionAnswer]) -> tuple[Action, ...]:
        """Notes each answer of a session as if it were the only one of an exchange."""
        opened, numbers = self._started, self._numbers
        notes: list[Action] = []
        for answer in answers:
            self._reading = answer.reading
            self._started, self._first, self._last = answer.began, answer.first, answer.last
            if numbers is not None:
                numbers.document(answer.end)
            notes += self._note(answer.ended, answer.error)[:-1]
            if numbers is not None:
                numbers.forget()
        self._started, self._reading, self._done = opened, None, False
        return tuple(notes)

    def _end(self, now: float, error: str = "") -> tuple[Action, ...]:
        """The answer has ended, or all that we need of it."""
        found = self._reading
        if found is not None:
            if found.end():
                self._last = now
                self._first = now if self._first is None else self._first
            if found.told.failed:
                error = "error_in_stream"
            elif not error and found.marked and not found.told.ended and not found.broken:
                error = "cut_short"
            if found.broken:
                return (Fault("unreadable_answer"), *self._note(now, error))
        elif self._session is not None:
            return self._leave(self._session, now, (not self._session.gone and error) or "cut_short")
        return self._note(now, error)

    def _note(self, now: float | None, error: str = "") -> tuple[Action, ...]:
        """``now``: when it ended; None where that is not known."""
        self._done = True
        metadata, policy = self._metadata, self._policy()
        model, version = self._labels(metadata)
        pool = metadata.get("gpu_pool", "")
        api = metadata.get("api", "")
        first, per_token, tokens, estimated = self._told()
        observed = Observed(
            model,
            version,
            pool if pool in self._snapshot.pool_by_name else OTHER if pool else NONE,
            api if api in API_NAMES else OTHER if api else NONE,
            self._code or "0",
            None if self._started is None or now is None else now - self._started,
            cohort=metadata.get("cohort", ""),
            policy=policy.name if policy is not None else OTHER if metadata.get("policy") else "",
            caller=self._caller,
            first_token=first,
            per_token=per_token,
            input_tokens=tokens[0],
            output_tokens=tokens[1],
            cached_tokens=tokens[2],
            estimated=estimated,
            streamed=self._reading is not None and self._reading.streamed,
            error=error,
            traceparent=self._traceparent,
            asked=metadata.get("model", "")[:_ASKED],
            operation=metadata.get("operation", ""),
        )
        if self._numbers is not None and policy is not None:
            numbers = self._numbers.found
            return observed, *custom_samples(policy.custom_metrics, observed, self._gpu(policy, pool), numbers), FINISH
        return observed, FINISH

    def _told(self) -> tuple[float | None, float | None, tuple[int | None, int | None, int | None], bool]:
        """TTFT, TPOT, tokens, and whether those of the output are an estimate."""
        found = self._reading
        if found is None:
            return None, None, (None, None, None), False
        given, output, cached = found.counts()
        if not found.streamed:
            return None, None, (given, output, cached), False
        estimated = not output and found.counted and found.told.pieces > 0  # some tell zero, as they don't count
        if estimated:
            output = found.told.pieces
        first = per_token = None
        if self._first is not None and self._last is not None:
            first = None if self._started is None else self._first - self._started
            if found.counted and output is not None and output > 1 and self._last > self._first:
                per_token = (self._last - self._first) / (output - 1)
        return first, per_token, (given, output, cached), estimated

    def _load(self, headers: Headers) -> tuple[Action, ...]:
        """How busy the server is that answers, where it tells."""
        pool = self._snapshot.pool_by_name.get(self._metadata.get("gpu_pool", ""))
        if pool is None or LOAD_HEADER not in headers:
            return ()
        load = parse_load_header(headers.text(LOAD_HEADER))
        return () if load is None else (LoadReport(pool.name, load),)

    def _policy(self) -> Policy | None:
        return self._snapshot.by_name.get(self._metadata.get("policy", ""))

    def _gpu(self, policy: Policy, pool: str) -> str:
        if (found := self._snapshot.pool_by_name.get(pool)) is not None:
            return found.gpu.architecture
        return (policy.gpu.architecture if policy.gpu else "") or NONE

    def _labels(self, metadata: Mapping[str, str]) -> tuple[str, str]:
        """Label values for model and version: only texts of the policy, so that no client can make up new ones."""
        found = self._snapshot.match(metadata.get("model", ""))  # some APIs have no name for their model
        if found is None or found.policy.name != metadata.get("policy"):
            return OTHER, NONE
        version = metadata.get("version", "")
        return found.pattern, version if version in found.policy.by_name else OTHER if version else NONE


def _elapsed(headers: Headers) -> float | None:
    """Seconds from the request's first byte to the response's, as Envoy says in ``server-timing``; None if it doesn't.

    Envoy cuts off what is less than a millisecond: half of one is added.
    """
    _, told, rest = (headers.get("server-timing") or b"").rpartition(_TOTAL)
    digits = rest.partition(b";")[0].partition(b",")[0]
    return (int(digits) + 0.5) / 1000 if told and digits.isdigit() and len(digits) < 10 else None


def _grpc_error(headers: Headers) -> str:
    """gRPC says in trailers, under the status 200, how a call ended."""
    return "error_in_stream" if headers.text("grpc-status") not in ("", "0") else ""

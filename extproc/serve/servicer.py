"""The ext_proc service: one handler for each ``Process`` stream, from the bytes of a message to those of its replies.

An unexpected exception is caught, logged and counted here, and nowhere below.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from random import getrandbits
from time import perf_counter
from typing import TYPE_CHECKING, Any, TypeAlias, cast, get_args

from extproc.envoy.actions import Finish, Reject, Reply
from extproc.envoy.codec import Malformed, decode, encode
from extproc.envoy.events import Closed, Event, RequestHeaders, ResponseHeaders
from extproc.exchange.breakers import Breakers, note_end
from extproc.exchange.held_answer import HeldAnswer
from extproc.exchange.notes import Action, LoadReport, Note, Observed
from extproc.exchange.observe import ObserveStream
from extproc.exchange.request_outcome import ACCOUNTED
from extproc.exchange.route import RouteStream, State
from extproc.exchange.sampling import AdaptiveShares
from extproc.exchange.waiting_pick import WaitingPick, patience
from extproc.grpc_server import Abort, Sender, StatusCode
from extproc.grpc_server.contract import HANDLER_FAILED
from extproc.policy.breaker import Breaker, InFlight
from extproc.policy.pool_load import PoolLoads
from extproc.policy.snapshot import Snapshot
from extproc.serve.endpoint_picks import EndpointPicks
from extproc.serve.open_streams import OpenStreams
from extproc.telemetry.metrics import Metrics

if TYPE_CHECKING:
    from extproc.exchange.picks import Picks  # numpy takes a tenth of a second to load

log = logging.getLogger(__name__)

ObservedListener: TypeAlias = Callable[[Sender, Observed], None]
"""Called with each finished exchange, and with its stream, whose metadata is parsed only when asked for."""

BUSY_AFTER, OVERLOADED_AFTER = 0.01, 0.15
"""Seconds that the event loop lags behind: from the first on, exchanges with much data are watched no more; from the
second on, none is.
"""

_BODY = State.BODY
_CLOSED = Closed()
_ENCODERS: dict[type[Action], Callable[[Any], bytes]] = dict.fromkeys(get_args(Reply), encode)
del _ENCODERS[Reject]  # it is counted as well: see _act


def _random_bytes() -> bytes:
    """64 random bits for the draw of a version. They must be uniform, not unpredictable."""
    return getrandbits(64).to_bytes(8)


class ProcessHandler:
    """One ``Process`` stream: routes, or observes where the filter runs in observability mode."""

    __slots__ = (
        *("_breakers", "_ended", "_in_flight", "_loads", "_metrics", "_observing", "_picks", "_routing"),
        *("_sender", "_shares", "_streams", "_on_observed", "_snapshot", "done"),
    )

    def __init__(
        self,
        snapshot: Snapshot,
        metrics: Metrics,
        loads: PoolLoads,
        streams: OpenStreams,
        shares: AdaptiveShares,
        sender: Sender,
        on_observed: ObservedListener | None = None,
        breakers: Breakers | None = None,
        picks: EndpointPicks | None = None,
    ) -> None:
        """``streams`` counts it; ``shares`` of answers are observed; ``on_observed`` is called with a finished
        exchange.
        """
        self.done = False
        self._ended: Abort | None = None
        self._streams = streams
        self._shares = shares
        self._routing: RouteStream | HeldAnswer | None = None
        self._observing: ObserveStream | None = None
        self._sender = sender
        self._on_observed = on_observed
        self._loads = loads
        self._snapshot = snapshot
        self._metrics = metrics
        self._picks = None if picks is None else picks.of(snapshot)
        self._breakers = breakers if breakers is not None and breakers.wanted(snapshot) else None
        self._in_flight: tuple[Breaker, InFlight] | None = None

    def receive(self, message: bytes) -> Sequence[bytes]:
        """The replies to one ProcessingRequest. The gRPC server ends the stream where this raises."""
        if self._ended is not None:
            raise self._ended
        started = perf_counter()
        try:
            event, observing = decode(message)
            if self._routing is None and self._observing is None:
                if started >= self._metrics.renderings.next_check:
                    self._metrics.renderings.note(self._sender.metadata, started)
                if observing:
                    self._streams.watch(self)
                    self._observing = ObserveStream(self._snapshot, accounted=ACCOUNTED in self._sender.metadata)
                else:
                    free = self._loads.free_shares(started)
                    self._routing = RouteStream(
                        self._snapshot,
                        _random_bytes(),
                        free,
                        self._shares,
                        self._loads.down,
                        self._breakers,
                        self._picks,
                    )
            actions = self._actions(event, started)
            if self._breakers is not None and self._observing is not None:
                self._follow(self._breakers, self._observing, event, started)
            replies = self._act(actions)
            if self.done:
                pass
            elif self._routing is not None:
                self._streams.wait(self, self._held(self._routing, len(message)))
            elif self._observing is not None and (behind := self._sender.loop_lag.seconds(started)) > BUSY_AFTER:
                self._relieve(self._observing, started, behind)
        except Malformed:
            self._metrics.count_error("malformed_message")
            raise
        except Abort:
            raise
        except Exception:
            # Envoy treats the request as failure_mode_allow says.
            self._metrics.count_error("internal")
            log.exception("a message could not be processed")
            raise
        self._metrics.observe_message(event.kind, perf_counter() - started)
        return replies

    def close(self) -> None:
        """The stream has ended."""
        if self._ended is None:
            self._streams.close(self, self._observing is not None)
        now = perf_counter()
        if self.done:
            pass
        elif self._observing is not None and self._sender.loop_lag.seconds(now) > OVERLOADED_AFTER:
            self._act(self._observing.abandon(closed=True))
        else:
            self._act(self._actions(_CLOSED, now))
            self._routing = None  # what waits refers to the stream, and would keep its body until a full collection
        if self._in_flight is not None:
            breaker, one = self._in_flight
            breaker.end(one, now)

    def end(self, abort: Abort) -> None:
        """Ends the stream to make room for others (``OpenStreams``)."""
        self._ended = abort
        if isinstance(self._routing, HeldAnswer):
            self._act(self._routing.make_room())
        self._sender.end(abort)

    def _held(self, exchange: RouteStream | HeldAnswer, size: int) -> int:
        """Bytes that are held of a message of ``size`` bytes."""
        if exchange.state is not _BODY:
            return 0  # only a body that the decision waits for is held; after it, pieces are passed on as they come
        if type(exchange) is HeldAnswer:
            size, exchange.unpacked = size + exchange.unpacked, 0
        return size

    def _follow(self, breakers: Breakers, exchange: ObserveStream, event: Event, now: float) -> None:
        """Tells the breaker of a request's target that it begins, or has its first token."""
        if type(event) is RequestHeaders:
            self._in_flight = breakers.begin(self._snapshot, event.metadata, event.headers, now)
        elif self._in_flight is not None:
            breaker, one = self._in_flight
            if type(event) is ResponseHeaders and event.served:
                self._in_flight = breakers.served(breaker, one, event.served, now)
            if one.waiting and (seconds := exchange.time_to_first_token) is not None:
                breaker.first_token(one, seconds, now)

    def _actions(self, event: Event, now: float) -> Sequence[Action]:
        """What the exchange gives for an event; nothing where there is none yet."""
        if self._routing is not None:
            return self._routing.receive(event)
        return () if self._observing is None else self._observing.receive(event, now)

    def _relieve(self, exchange: ObserveStream, now: float, behind: float) -> None:
        """Stops watching an exchange before Envoy has to hold back its answer because of us: those with much data
        first; where the loop lags further behind, any, since routing comes before watching.
        """
        if behind > OVERLOADED_AFTER or exchange.exceeds_rate(now):
            self._act(exchange.abandon())

    def _act(self, actions: Sequence[Action]) -> list[bytes]:
        replies = []
        for action in actions:
            # Not isinstance(): to say no takes it as long, for these classes, as encoding does.
            encoder = _ENCODERS.get(type(action))
            if encoder is not None:
                replies.append(encoder(action))
            elif type(action) is Finish:
                self.done = True
            elif type(action) is Reject:
                self._metrics.count_rejected(action.code)
                replies.append(encode(action))
            elif type(action) is WaitingPick:
                self._hold(action, actions)
                return []
            else:
                self._note(cast("Note | LoadReport", action))
        return replies

    def _hold(self, one: WaitingPick, actions: Sequence[Action]) -> None:
        """The request waits for an endpoint, and with it those of ``actions`` that come after ``one``."""
        queues = cast("Picks", self._picks).queues
        self._routing = HeldAnswer(cast("RouteStream", self._routing), queues, one, tuple(actions))
        queues.hold(one, patience(self._sender.metadata), self._resume, self._sender.call_later)

    def _resume(self) -> None:
        """The request waits no longer."""
        held = self._routing
        if self._ended is not None or not isinstance(held, HeldAnswer):
            return
        try:
            self._routing = held.stream
            replies = self._act(held.finish())
        except Exception:
            self._metrics.count_error("internal")
            log.exception("the reply to a request that waited could not be made")
            self._sender.end(Abort(StatusCode.INTERNAL, HANDLER_FAILED))
        else:
            self._sender.reply(replies, done=self.done)

    def _note(self, action: Note | LoadReport) -> None:
        if type(action) is LoadReport:
            self._loads.note(action.pool, action.load, perf_counter())
            return
        if type(action) is Observed and self._in_flight is not None:
            breaker, one = self._in_flight
            note_end(breaker, one, action, perf_counter())
        self._metrics.note(cast("Note", action))
        if type(action) is Observed and self._on_observed is not None:
            self._on_observed(self._sender, action)


def handler_factory(
    snapshot: Callable[[], Snapshot],
    metrics: Metrics,
    max_streams: int = 10_000,
    on_observed: ObservedListener | None = None,
    loads: PoolLoads | None = None,
    breakers: Breakers | None = None,
    picks: EndpointPicks | None = None,
) -> Callable[[Sender], ProcessHandler]:
    """A factory of handlers, for the gRPC server. Each stream keeps the snapshot in force when it opens.

    ``max_streams`` bounds the open streams (``OpenStreams``); Envoy treats a request whose stream is refused as
    failure_mode_allow says. ``loads``: the loads of GPU pools; None: those that answers report on these streams alone.
    ``breakers``, ``picks``: None: policies have none.
    """
    loads = PoolLoads() if loads is None else loads
    streams, shares = OpenStreams(metrics, max_streams), AdaptiveShares(perf_counter)

    def handler(sender: Sender) -> ProcessHandler:
        made = ProcessHandler(snapshot(), metrics, loads, streams, shares, sender, on_observed, breakers, picks)
        streams.open(made)
        return made

    return handler

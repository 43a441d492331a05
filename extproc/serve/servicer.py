"""From bytes to bytes for one ext_proc stream, and the net that catches what should never happen."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from random import getrandbits
from time import perf_counter
from typing import Any, TypeAlias, cast, get_args

from extproc.envoy.actions import Finish, Reject, Reply
from extproc.envoy.codec import Malformed, decode, encode
from extproc.envoy.events import Closed
from extproc.exchange.notes import Action, LoadReport, Note, Observed
from extproc.exchange.observe import ObserveStream
from extproc.exchange.route import RouteStream, State
from extproc.grpc_server import Abort, Sender
from extproc.policy.pool_load import PoolLoads
from extproc.policy.snapshot import Snapshot
from extproc.serve.open_streams import Streams
from extproc.telemetry.metrics import Metrics

log = logging.getLogger(__name__)

ObservedListener: TypeAlias = Callable[[Sender, Observed], None]
"""Hears of each exchange that has finished, and on which stream: to ask for its metadata costs something."""

SOON, LATE = 0.01, 0.15
"""Seconds of work without a pause after which we watch less, and little."""

_BODY = State.BODY
_CLOSED = Closed()
_ENCODERS: dict[type[Action], Callable[[Any], bytes]] = dict.fromkeys(get_args(Reply), encode)
del _ENCODERS[Reject]  # is counted, too


def _entropy() -> bytes:
    """Fresh bytes for the draw of a version: evenly spread is all that they must be, and the system's cost more."""
    return getrandbits(64).to_bytes(8)


def _draw() -> float:
    """From 0 to 1, which it never is."""
    return getrandbits(53) / (1 << 53)


class ProcessHandler:
    """One ``Process`` stream: routes, or only observes where the filter says that it runs in observability mode."""

    __slots__ = (
        *("_ended", "_exchange", "_loads", "_metrics", "_observing", "_routing"),
        *("_sender", "_streams", "_told", "_snapshot", "done"),
    )

    def __init__(
        self,
        snapshot: Snapshot,
        metrics: Metrics,
        loads: PoolLoads,
        streams: Streams,
        sender: Sender,
        told: ObservedListener | None = None,
    ) -> None:
        """``streams`` has counted it; ``told`` hears of a finished exchange."""
        self.done = False
        self._ended: Abort | None = None
        self._streams = streams
        self._routing: RouteStream | None = None
        self._observing: ObserveStream | None = None
        self._sender = sender
        self._told = told
        self._loads = loads
        self._snapshot = snapshot
        self._metrics = metrics
        self._exchange: RouteStream | ObserveStream | None = None

    def receive(self, message: bytes) -> Sequence[bytes]:
        """The replies to one ProcessingRequest; the engine ends the stream when this raises."""
        if self._ended is not None:
            raise self._ended
        started = perf_counter()
        try:
            event, observing = decode(message)
            if self._exchange is None:
                if started >= self._metrics.renderings.next_check:
                    self._metrics.renderings.note(self._sender.metadata, started)
                if observing:
                    self._streams.watch()
                    self._exchange = self._observing = ObserveStream(self._snapshot, _draw())
                else:
                    free_shares = self._loads.free_shares(started)
                    self._exchange = self._routing = RouteStream(self._snapshot, _entropy(), free_shares)
            replies = self._act(self._exchange.receive(event, started))
            if self.done:
                pass
            elif self._routing is not None:
                # What has been decided is echoed as it comes, and not held.
                self._streams.wait(self, len(message) if self._routing.state is _BODY else 0)
            elif self._observing is not None and (behind := self._sender.loop_lag.seconds(started)) > SOON:
                self._relieve(self._observing, started, behind)
        except Malformed:
            self._metrics.count_error("malformed_message")
            raise
        except Abort:
            raise
        except Exception:
            # Envoy's failure_mode_allow decides what becomes of the request.
            self._metrics.count_error("internal")
            log.exception("a message could not be processed")
            raise
        self._metrics.observe_message(event.kind, perf_counter() - started)
        return replies

    def close(self) -> None:
        """The stream is gone."""
        if self._ended is None:
            self._streams.close(self, watched=self._observing is not None)
        if self._exchange is None or self.done:
            return
        now = perf_counter()
        if self._observing is not None and self._sender.loop_lag.seconds(now) > LATE:
            self._act(self._observing.abandon(closed=True))
        else:
            self._act(self._exchange.receive(_CLOSED, now))

    def end(self, abort: Abort) -> None:
        """See ``Streams``: others need the room more."""
        self._ended = abort
        self._sender.end(abort)

    def _relieve(self, exchange: ObserveStream, now: float, behind: float) -> None:
        """Leaves an exchange alone before Envoy has to hold back its answer for us: at first those that bring much,
        then, as routing comes before watching, any.
        """
        if behind > LATE or exchange.exceeds_rate(now):
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
            else:
                self._note(cast("Note | LoadReport", action))
        return replies

    def _note(self, action: Note | LoadReport) -> None:
        if type(action) is LoadReport:
            self._loads.note(action.pool, action.load, perf_counter())
            return
        self._metrics.note(cast("Note", action))
        if type(action) is Observed and self._told is not None:
            self._told(self._sender, action)


def process(
    snapshot: Callable[[], Snapshot],
    metrics: Metrics,
    max_streams: int = 10_000,
    told: ObservedListener | None = None,
    loads: PoolLoads | None = None,
) -> Callable[[Sender], ProcessHandler]:
    """A factory of handlers; each stream takes the view that is in force when it opens.

    ``max_streams`` may be open (``Streams``); Envoy does without us for a stream that is refused. ``loads``: what GPU
    pools tell; None: only by the answers that pass here.
    """
    loads = PoolLoads() if loads is None else loads
    streams = Streams(metrics, max_streams)

    def handler(sender: Sender) -> ProcessHandler:
        streams.open()
        return ProcessHandler(snapshot(), metrics, loads, streams, sender, told)

    return handler

"""The access log service: takes the entries of Envoy's access log and counts the requests that they tell of.

Source: envoy/service/accesslog/v3/als.proto. Envoy opens one stream for each of its worker threads and never waits for
an answer; what it cannot send it drops and counts (``access_logs.grpc_access_log.logs_dropped``).
"""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import TypeAlias

from extproc.envoy.access_log import decode
from extproc.envoy.codec import Malformed
from extproc.exchange.notes import Observed, RequestAccount
from extproc.exchange.request_outcome import MESH_NAMESPACE, could_not_be_reached, picked_endpoint
from extproc.grpc_server import Abort, Sender, StatusCode
from extproc.policy.snapshot import Snapshot
from extproc.serve.endpoint_picks import EndpointPicks
from extproc.serve.known_targets import KnownTargets
from extproc.telemetry.golden_metrics import is_failure
from extproc.telemetry.metrics import Metrics

log = logging.getLogger(__name__)

MAX_STREAMS = 1_000
"""Streams that may be open; one more ends the one that has said nothing longest with RESOURCE_EXHAUSTED."""
MAX_MESH_NAMESPACES = 16
"""Namespaces for which the targets are kept; renderings of the same policies name one."""
MAX_OBSERVED_FAILURES = 10_000
"""Requests whose observed failures are remembered: their entries come within a second or so."""

AccountListener: TypeAlias = Callable[[RequestAccount], None]


class AccessLogService:
    """Counts the requests of all streams."""

    def __init__(
        self,
        snapshot: Callable[[], Snapshot],
        metrics: Metrics,
        on_account: AccountListener | None = None,
        picks: EndpointPicks | None = None,
    ) -> None:
        """``snapshot`` gives the policies in force; ``on_account`` is called with each request, too; ``picks`` counts
        those in flight whose endpoints were picked.
        """
        self._snapshot = snapshot
        self._metrics = metrics
        self._on_account, self._picks = on_account, picks
        self._open: OrderedDict[Sender, None] = OrderedDict()
        """The first has said nothing longest."""
        self._targets: OrderedDict[str | None, KnownTargets] = OrderedDict()
        """By what ``_mesh_namespace`` found; the first has been of use least lately."""
        self._observed_failures: OrderedDict[str, None] = OrderedDict()

    def open(self, sender: Sender) -> AccessLogHandler:
        """The handler of a new stream; where there is no room, the one that has said nothing longest is ended."""
        if len(self._open) >= MAX_STREAMS:
            silent, _ = self._open.popitem(last=False)
            self._metrics.count_error("too_many_access_logs")
            silent.end(Abort(StatusCode.RESOURCE_EXHAUSTED, "too many access logs"))
        self._open[sender] = None
        return AccessLogHandler(self, sender)

    def close(self, sender: Sender) -> None:
        """A stream has ended."""
        self._open.pop(sender, None)

    def note_observed(self, observed: Observed) -> None:
        """The observer has noted an exchange: a failure that its answer told of does not count again where Envoy tells
        that it was broken off. Replicas do not tell each other.
        """
        if observed.accounted and observed.error and observed.request_id and is_failure(observed):
            self._observed_failures[observed.request_id] = None
            if len(self._observed_failures) > MAX_OBSERVED_FAILURES:
                self._observed_failures.popitem(last=False)

    def end_streams(self) -> None:
        """Ends all streams, which Envoy never does, so that the server can stop: Envoy opens others elsewhere. May be
        called from any thread.
        """
        for sender in list(self._open):
            sender.end(Abort(StatusCode.UNAVAILABLE, "this processor stops"))

    def count_error(self, reason: str) -> None:
        """Counts a message that could not be read."""
        self._metrics.count_error(reason)

    def take(self, sender: Sender, message: bytes) -> None:
        """Counts the entries of a message. Raises ``Malformed``."""
        if sender in self._open:
            self._open.move_to_end(sender)
        snapshot = self._snapshot()
        accounts = self._known_targets(sender).accounts(snapshot)
        for logged in decode(message):
            if self._picks is not None and (endpoint := picked_endpoint(snapshot, logged)):
                self._picks.ended(endpoint, reached=not could_not_be_reached(logged))
            for note in accounts.of(logged, self._observed_failures):
                self._metrics.note(note)
                if type(note) is RequestAccount and self._on_account is not None:
                    self._on_account(note)

    def _known_targets(self, sender: Sender) -> KnownTargets:
        namespace = _mesh_namespace(sender)
        known = self._targets.setdefault(namespace, KnownTargets(namespace))
        self._targets.move_to_end(namespace)
        if len(self._targets) > MAX_MESH_NAMESPACES:
            self._targets.popitem(last=False)
        return known


def _mesh_namespace(sender: Sender) -> str | None:
    """What the stream says of its mesh; None where clusters have our own names."""
    found = (value for key, value in sender.metadata if key == MESH_NAMESPACE)
    return next((value for value in found if isinstance(value, str)), None)


class AccessLogHandler:
    """One stream."""

    def __init__(self, service: AccessLogService, sender: Sender) -> None:
        self.done = False
        self._service = service
        self._sender = sender

    def receive(self, message: bytes) -> Sequence[bytes]:
        """No replies."""
        try:
            self._service.take(self._sender, message)
        except Malformed:
            self._service.count_error("malformed_message")
            raise
        except Exception:
            self._service.count_error("internal")
            log.exception("an access log could not be read")
            raise
        return ()

    def close(self) -> None:
        """The stream has ended."""
        self._service.close(self._sender)

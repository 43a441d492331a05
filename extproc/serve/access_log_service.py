"""The access log service: takes the entries of Envoy's access log and counts the requests that they tell of.

Source: envoy/service/accesslog/v3/als.proto. Envoy opens one stream for each of its worker threads and never waits for
an answer; what it cannot send it drops and counts (``access_logs.grpc_access_log.logs_dropped``).
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import TypeAlias

from extproc.envoy.access_log import decode
from extproc.envoy.codec import Malformed
from extproc.exchange.account import account
from extproc.exchange.notes import RequestAccount
from extproc.grpc_server import Abort, Sender, StatusCode
from extproc.policy.snapshot import Snapshot
from extproc.telemetry.metrics import Metrics

log = logging.getLogger(__name__)

MAX_STREAMS = 1_000
"""Streams that may be open; one more is refused with RESOURCE_EXHAUSTED."""

AccountListener: TypeAlias = Callable[[RequestAccount], None]


class AccessLogService:
    """Counts the requests of all streams."""

    def __init__(self, snapshot: Callable[[], Snapshot], metrics: Metrics, on_account: AccountListener | None = None):
        """``snapshot`` gives the policies in force; ``on_account`` is called with each request, too."""
        self._snapshot = snapshot
        self._metrics = metrics
        self._on_account = on_account
        self._open: set[Sender] = set()

    def open(self, sender: Sender) -> AccessLogHandler:
        """The handler of a new stream. Raises ``Abort``."""
        if len(self._open) >= MAX_STREAMS:
            self._metrics.count_error("too_many_access_logs")
            raise Abort(StatusCode.RESOURCE_EXHAUSTED, "too many access logs")
        self._open.add(sender)
        return AccessLogHandler(self, sender)

    def close(self, sender: Sender) -> None:
        """A stream has ended."""
        self._open.discard(sender)

    def end_streams(self) -> None:
        """Ends all streams, which Envoy never does, so that the server can stop: Envoy opens others elsewhere. May be
        called from any thread.
        """
        for sender in list(self._open):
            sender.end(Abort(StatusCode.UNAVAILABLE, "this processor stops"))

    def count_error(self, reason: str) -> None:
        """Counts a message that could not be read."""
        self._metrics.count_error(reason)

    def take(self, message: bytes) -> None:
        """Counts the entries of a message. Raises ``Malformed``."""
        snapshot = self._snapshot()
        for logged in decode(message):
            for note in account(snapshot, logged):
                self._metrics.note(note)
                if type(note) is RequestAccount and self._on_account is not None:
                    self._on_account(note)


class AccessLogHandler:
    """One stream."""

    def __init__(self, service: AccessLogService, sender: Sender) -> None:
        self.done = False
        self._service = service
        self._sender = sender

    def receive(self, message: bytes) -> Sequence[bytes]:
        """No replies."""
        try:
            self._service.take(message)
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

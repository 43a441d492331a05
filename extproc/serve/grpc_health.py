"""The gRPC health service (grpc.health.v1) on the data port.

Answers for the server as a whole and for services by name. Sources: gRPC's health checking protocol; for the names, the
Endpoint Picker Protocol of the Gateway API Inference Extension.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Sequence

from extproc._pb import health_pb2 as pb
from extproc.envoy.codec import SERVICE
from extproc.grpc_server import Abort, Factory, Sender, StatusCode

CHECK = "/grpc.health.v1.Health/Check"
WATCH = "/grpc.health.v1.Health/Watch"
LIVENESS = "liveness"
"""Serving for as long as the process answers (Endpoint Picker Protocol)."""
SERVICES = ("", SERVICE, LIVENESS, "readiness")
"""Names of services that have a status; empty is the server as a whole."""
MAX_OPEN_CHECKS = 1_000
"""Check streams that are open without a request. One more ends the oldest with RESOURCE_EXHAUSTED: Envoy sends its
request at once, and must get a reply however many other streams are open.
"""
MAX_WATCHES = 1_000
"""Watch streams that may be open; one more is refused with RESOURCE_EXHAUSTED."""


class Health:
    """Whether this process takes traffic. Not serving at first; may be set from any thread and in a signal handler."""

    def __init__(self) -> None:
        self._serving = False
        self._watchers: set[_Watch] = set()
        self._checks: OrderedDict[_Check, None] = OrderedDict()
        self._watches = 0
        self._lock = threading.RLock()

    @property
    def serving(self) -> bool:
        """Whether the status is SERVING."""
        return self._serving

    @serving.setter
    def serving(self, serving: bool) -> None:
        with self._lock:
            self._serving = serving
            for watcher in list(self._watchers):
                watcher.notify()

    def status(self, service: str) -> bytes:
        """The reply for a service; ``""`` is the server as a whole."""
        if service not in SERVICES:
            return pb.HealthCheckResponse(status=pb.HealthCheckResponse.SERVICE_UNKNOWN).SerializeToString()
        up = self._serving or service == LIVENESS
        serving = pb.HealthCheckResponse.SERVING if up else pb.HealthCheckResponse.NOT_SERVING
        return pb.HealthCheckResponse(status=serving).SerializeToString()

    def services(self) -> dict[str, Factory]:
        """The methods of the health service, for the gRPC server."""
        return {CHECK: self._check, WATCH: self._watch}

    def forget(self, handler: _Check | _Watch) -> None:
        """The stream of ``handler`` has ended."""
        if isinstance(handler, _Check):
            self._checks.pop(handler, None)
        else:
            self._watches -= 1
            self.unwatch(handler)

    def _check(self, send: Sender) -> _Check:
        if len(self._checks) >= MAX_OPEN_CHECKS:
            oldest, _ = self._checks.popitem(last=False)
            oldest.evict()
        check = _Check(self, send)
        self._checks[check] = None
        return check

    def _watch(self, send: Sender) -> _Watch:
        if self._watches >= MAX_WATCHES:
            raise Abort(StatusCode.RESOURCE_EXHAUSTED, f"{MAX_WATCHES} watch already, and no more may")
        self._watches += 1
        return _Watch(self, send)

    def watch(self, watcher: _Watch) -> None:
        """``watcher`` gets every change of the status until ``unwatch``."""
        with self._lock:
            self._watchers.add(watcher)

    def unwatch(self, watcher: _Watch) -> None:
        """``watcher`` gets no more changes."""
        with self._lock:
            self._watchers.discard(watcher)


class _Check:
    """One ``Check`` call: one request, one reply."""

    def __init__(self, health: Health, send: Sender) -> None:
        self.done = False
        self._health = health
        self._send = send

    def receive(self, message: bytes) -> Sequence[bytes]:
        self.done = True
        service = pb.HealthCheckRequest.FromString(message).service
        if service not in SERVICES:
            raise Abort(StatusCode.NOT_FOUND, "unknown service")
        return (self._health.status(service),)

    def evict(self) -> None:
        """Ends the stream, to make room for another."""
        self._send.end(
            Abort(StatusCode.RESOURCE_EXHAUSTED, f"{MAX_OPEN_CHECKS} checks are open, and this one asked nothing")
        )

    def close(self) -> None:
        self._health.forget(self)


class _Watch:
    """One ``Watch`` call: one request, a reply now and at every change of the status."""

    done = False

    def __init__(self, health: Health, send: Sender) -> None:
        self._health = health
        self._send = send
        self._service: str | None = None

    def receive(self, message: bytes) -> Sequence[bytes]:
        if self._service is not None:
            raise Abort(StatusCode.INTERNAL, "one message asks for all that follows")
        self._service = pb.HealthCheckRequest.FromString(message).service
        self._health.watch(self)
        return (self._health.status(self._service),)

    def notify(self) -> None:
        self._send(self._health.status(self._service or ""))

    def close(self) -> None:
        self._health.forget(self)

"""The gRPC health service (grpc.health.v1) on the data port.

Answers for the server as a whole and for the ext_proc service by name. Source: gRPC's health checking protocol.
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
KNOWN = ("", SERVICE)
"""Services that can be asked for; empty is the server as a whole."""
CHECKS = 1_000
"""Checks that are open and have not been asked yet. One more takes the place of the oldest: an Envoy asks at once, and
must get its answer however many others only open streams.
"""
WATCHES = 1_000
"""Watchers at once; one more is refused."""


class Health:
    """Whether we want traffic. Starts as not serving; may be switched from any thread, a signal handler included."""

    def __init__(self) -> None:
        self._serving = False
        self._watchers: set[_Watch] = set()
        self._checks: OrderedDict[_Check, None] = OrderedDict()
        self._watches = 0
        self._lock = threading.RLock()

    @property
    def serving(self) -> bool:
        """What checks are told."""
        return self._serving

    @serving.setter
    def serving(self, serving: bool) -> None:
        with self._lock:
            self._serving = serving
            for watcher in list(self._watchers):
                watcher.tell()

    def status(self, service: str) -> bytes:
        """The reply for a service; ``""`` is the server as a whole."""
        if service not in KNOWN:
            return pb.HealthCheckResponse(status=pb.HealthCheckResponse.SERVICE_UNKNOWN).SerializeToString()
        serving = pb.HealthCheckResponse.SERVING if self._serving else pb.HealthCheckResponse.NOT_SERVING
        return pb.HealthCheckResponse(status=serving).SerializeToString()

    def services(self) -> dict[str, Factory]:
        """What the engine serves."""
        return {CHECK: self._check, WATCH: self._watch}

    def leave(self, handler: _Check | _Watch) -> None:
        """Its stream is gone."""
        if isinstance(handler, _Check):
            self._checks.pop(handler, None)
        else:
            self._watches -= 1
            self.unwatch(handler)

    def _check(self, send: Sender) -> _Check:
        if len(self._checks) >= CHECKS:
            oldest, _ = self._checks.popitem(last=False)
            oldest.give_way()
        check = _Check(self, send)
        self._checks[check] = None
        return check

    def _watch(self, send: Sender) -> _Watch:
        if self._watches >= WATCHES:
            raise Abort(StatusCode.RESOURCE_EXHAUSTED, f"{WATCHES} watch already, and no more may")
        self._watches += 1
        return _Watch(self, send)

    def watch(self, watcher: _Watch) -> None:
        """``watcher`` is told of every change until ``unwatch``."""
        with self._lock:
            self._watchers.add(watcher)

    def unwatch(self, watcher: _Watch) -> None:
        """No more news for ``watcher``."""
        with self._lock:
            self._watchers.discard(watcher)


class _Check:
    """One question, one answer."""

    def __init__(self, health: Health, send: Sender) -> None:
        self.done = False
        self._health = health
        self._send = send

    def receive(self, message: bytes) -> Sequence[bytes]:
        self.done = True
        service = pb.HealthCheckRequest.FromString(message).service
        if service not in KNOWN:
            raise Abort(StatusCode.NOT_FOUND, "unknown service")
        return (self._health.status(service),)

    def give_way(self) -> None:
        """To one that may ask."""
        self._send.end(Abort(StatusCode.RESOURCE_EXHAUSTED, f"{CHECKS} checks are open, and this one asked nothing"))

    def close(self) -> None:
        self._health.leave(self)


class _Watch:
    """One question, an answer now and at every change."""

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

    def tell(self) -> None:
        self._send(self._health.status(self._service or ""))

    def close(self) -> None:
        self._health.leave(self)

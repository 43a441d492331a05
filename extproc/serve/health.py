"""The gRPC health service (grpc.health.v1) on the data port.

Answers for the server as a whole and for the ext_proc service by name. Source: gRPC's health checking protocol.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence

from extproc._pb import health_pb2 as pb
from extproc.envoy.codec import SERVICE
from extproc.grpc_server import Abort, Factory, Sender, StatusCode

CHECK = "/grpc.health.v1.Health/Check"
WATCH = "/grpc.health.v1.Health/Watch"
KNOWN = ("", SERVICE)
"""Services that can be asked for; empty is the server as a whole."""


class Health:
    """Whether we want traffic. Starts as not serving; may be switched from any thread, a signal handler included."""

    def __init__(self) -> None:
        self._serving = False
        self._watchers: set[_Watch] = set()
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
        return {CHECK: lambda _: _Check(self), WATCH: lambda send: _Watch(self, send)}

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

    def __init__(self, health: Health) -> None:
        self.done = False
        self._health = health

    def receive(self, message: bytes) -> Sequence[bytes]:
        self.done = True
        service = pb.HealthCheckRequest.FromString(message).service
        if service not in KNOWN:
            raise Abort(StatusCode.NOT_FOUND, "unknown service")
        return (self._health.status(service),)

    def close(self) -> None:
        pass


class _Watch:
    """One question, an answer now and at every change."""

    done = False

    def __init__(self, health: Health, send: Sender) -> None:
        self._health = health
        self._send = send
        self._service = ""

    def receive(self, message: bytes) -> Sequence[bytes]:
        self._service = pb.HealthCheckRequest.FromString(message).service
        self._health.watch(self)
        return (self._health.status(self._service),)

    def tell(self) -> None:
        self._send(self._health.status(self._service))

    def close(self) -> None:
        self._health.unwatch(self)

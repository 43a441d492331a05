"""What an engine is asked for and what it asks of a handler."""

from __future__ import annotations

import enum
from collections.abc import Callable, Sequence
from time import perf_counter
from typing import Protocol, TypeAlias

import msgspec

from extproc.grpc_server.tls import Certificates

MAX_MESSAGE = 64 << 20
"""Bytes of one gRPC message: above every body limit that a policy can set for a body sent whole."""


class StatusCode(enum.IntEnum):
    """Those of gRPC's that we use (grpc/grpc, doc/statuscodes.md)."""

    OK = 0
    NOT_FOUND = 5
    RESOURCE_EXHAUSTED = 8
    UNIMPLEMENTED = 12
    INTERNAL = 13
    UNAVAILABLE = 14


class Abort(Exception):  # noqa: N818
    """Ends a stream with another status than OK or INTERNAL."""

    def __init__(self, code: StatusCode, details: str) -> None:
        super().__init__(details)
        self.code = code
        self.details = details


class Handler(Protocol):
    """One stream. Called by one thread only."""

    done: bool
    """Set by ``receive``: end the stream with status OK after its replies."""

    def receive(self, message: bytes) -> Sequence[bytes]:
        """Replies to one message, in order. ``Abort``, or any exception (INTERNAL), ends the stream."""

    def close(self) -> None:
        """Called exactly once, however the stream ended."""


Metadata: TypeAlias = Sequence[tuple[str, str | bytes]]
"""Of gRPC: names in lower case; values are text, or bytes where the name ends in ``-bin``."""


class Pulse:
    """Whether the engine keeps up. Times are of ``time.perf_counter``."""

    __slots__ = ("idle",)

    def __init__(self) -> None:
        self.idle = perf_counter()
        """When it last had nothing to do."""

    def behind(self, now: float) -> float:
        """Seconds for which it has had work without a pause: what comes now may have waited as long."""
        return now - self.idle


class Sender(Protocol):
    """Lets a handler send, or end, without having received; may be called from any thread."""

    @property
    def metadata(self) -> Metadata:
        """With what the client opened the stream."""

    @property
    def pulse(self) -> Pulse:
        """Of the engine that the stream is on."""

    def __call__(self, message: bytes) -> None:
        """Queues one message; dropped when the stream has ended. A client that never reads loses its stream."""

    def end(self, abort: Abort) -> None:
        """Ends the stream soon, with this status; the handler is closed then. Without effect when it has ended."""


Factory: TypeAlias = Callable[[Sender], Handler]
"""Makes the handler of a new stream, or refuses it by ``Abort``."""

BACKLOG = 1000
"""Pushed messages that wait for a client to read; with one more its stream ends."""
PAUSE = 0.005
"""Seconds without a look whether there is nothing to do, and of waiting that tell as much."""
BEHIND = "the client does not read what it is sent"
FAILED = "the processor failed on a message"
UNKNOWN = "unknown method"


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """How to serve."""

    tls: Certificates | None = None
    """None: in the clear."""
    keepalive: float = 60.0
    """Seconds without a sign of life from a client before it is asked for one."""
    keepalive_timeout: float = 20.0
    """Seconds after which a client that gave none counts as gone."""


class Engine(Protocol):
    """A server. ``addresses``: ``host:port`` (0: any) or ``unix:///path``. ``services``: by method path."""

    ports: list[int]
    """Of the addresses, once it runs."""

    def run(self, started: Callable[[], None]) -> None:
        """Serves until ``stop``; calls ``started`` once it accepts. Raises ``SetupError`` where it can't listen."""

    def stop(self, grace: float) -> None:
        """No new streams from now on; open ones may finish within ``grace`` seconds. Safe in signal handlers."""


def listening_refused(address: str) -> str:
    """What to tell the user who asked for ``address``."""
    return (
        f"cannot listen on {address}: it is taken or not allowed; stop what uses it, or choose another address "
        "with --listen"
    )

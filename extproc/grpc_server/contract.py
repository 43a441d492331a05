"""The interface between an engine, which serves gRPC, and the handlers of its streams."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from time import perf_counter
from typing import Protocol, TypeAlias

import msgspec

from extproc.grpc_server.status import Abort
from extproc.grpc_server.tls import Certificates

MAX_MESSAGE = 64 << 20
"""Bytes of one gRPC message: above every limit of buffered bodies that a policy can set."""


class Handler(Protocol):
    """One stream. Called by one thread only."""

    done: bool
    """Set by ``receive``: end the stream with status OK after its replies."""

    def receive(self, message: bytes) -> Sequence[bytes]:
        """Replies to one message, in order. ``Abort``, or any exception (INTERNAL), ends the stream."""

    def close(self) -> None:
        """Called exactly once, however the stream ended."""


Metadata: TypeAlias = Sequence[tuple[str, str | bytes]]
"""Of a gRPC call: names in lower case; values are text, or bytes where the name ends in ``-bin``."""


class LoopLag:
    """How long an engine's event loop has been busy. Times are of ``time.perf_counter``, in seconds."""

    __slots__ = ("last_idle",)

    def __init__(self) -> None:
        self.last_idle = perf_counter()
        """When it last had nothing to do."""

    def seconds(self, now: float) -> float:
        """For how long it has had work without a pause: a message that comes now may have waited as long."""
        return now - self.last_idle


class Sender(Protocol):
    """Lets a handler send a message, or end its stream, at any time and from any thread; ``reply`` and ``call_later``
    are for the handlers' own thread.
    """

    @property
    def metadata(self) -> Metadata:
        """Of the client's request."""

    @property
    def loop_lag(self) -> LoopLag:
        """Of the engine that serves the stream."""

    def __call__(self, message: bytes) -> None:
        """Queues one message; dropped when the stream has ended. A client that never reads loses its stream."""

    def end(self, abort: Abort) -> None:
        """Ends the stream soon, with this status; the handler is closed then. Without effect when it has ended."""

    def reply(self, replies: Sequence[bytes], *, done: bool) -> None:
        """As if ``receive`` had returned them: what a handler owes for a message to which it has not replied. ``done``:
        the stream ends with status OK after them. May be called where ``call_later`` calls. Without effect when the
        stream has ended.
        """

    def call_later(self, seconds: float, callback: Callable[[], None]) -> None:
        """Has the engine call it after so many seconds, or somewhat later, whether or not the stream is open then."""


Factory: TypeAlias = Callable[[Sender], Handler]
"""Makes the handler of a new stream, or refuses it by ``Abort``."""

MAX_PUSHED = 1000
"""Messages sent by a ``Sender`` that wait for a client to read; with one more its stream ends."""
IDLE_INTERVAL = 0.005
"""Seconds. A busy event loop checks as often whether it has nothing to do; one that waited as long had nothing."""
CLIENT_DOES_NOT_READ = "the client does not read what it is sent"
HANDLER_FAILED = "the processor failed on a message"
UNKNOWN_METHOD = "unknown method"
"""Details of statuses."""


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """How to serve."""

    tls: Certificates | None = None
    """None: in the clear."""
    keepalive: float = 60.0
    """Seconds without a byte from a client before it is sent a PING."""
    keepalive_timeout: float = 20.0
    """Seconds after which a client that has not answered it counts as gone."""


class Engine(Protocol):
    """A server. ``addresses``: ``host:port`` (0: any) or ``unix:///path``. ``services``: by method path."""

    ports: list[int]
    """Of the addresses, once it runs."""

    def run(self, started: Callable[[], None]) -> None:
        """Serves until ``stop``; calls ``started`` once it accepts. Raises ``SetupError`` where it can't listen."""

    def stop(self, grace: float) -> None:
        """No new streams from now on; open ones may finish within ``grace`` seconds. Safe in signal handlers."""

"""What an engine is asked for and what it asks of a handler. Floor 5: may import floors 0 to 4."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from time import perf_counter
from typing import Protocol, TypeAlias

import msgspec

from extproc.tls import Certificates

# grpcio reads these when it is imported. Without the experiments the thread that waits for messages also reads the
# sockets; with them a pool of threads does, and hands each message over. Children of ours never speak gRPC.
os.environ.setdefault("GRPC_EXPERIMENTS", "-event_engine_callback_cq,-event_engine_listener")
os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")

from grpc import StatusCode as StatusCode  # after the environment that it reads; for those who import this module

MAX_MESSAGE = 64 << 20
"""Bytes of one gRPC message: above every body limit that a policy can set for a body sent whole."""


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
    pushes: bool
    """It may use its ``Sender``. One that only ever answers costs less."""

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
    """Lets a handler send without having received; may be called from any thread."""

    @property
    def metadata(self) -> Metadata:
        """With what the client opened the stream."""

    @property
    def pulse(self) -> Pulse:
        """Of the engine that the stream is on."""

    def __call__(self, message: bytes) -> None:
        """Queues one message; dropped when the stream has ended. A client that never reads loses its stream."""


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

    def channel_arguments(self) -> tuple[tuple[str, int], ...]:
        """As grpcio wants them."""
        return (
            ("grpc.max_receive_message_length", MAX_MESSAGE),
            ("grpc.max_send_message_length", MAX_MESSAGE),
            ("grpc.so_reuseport", 0),  # a second server on the port must fail, not share
            ("grpc.keepalive_time_ms", int(self.keepalive * 1000)),
            # gRPC waits this long for the answer to a ping, whatever keepalive says.
            ("grpc.keepalive_timeout_ms", int(self.keepalive_timeout * 1000)),
            ("grpc.http2.ping_timeout_ms", int(self.keepalive_timeout * 1000)),
            ("grpc.http2.min_ping_interval_without_data_ms", 1_000),
            ("grpc.http2.max_ping_strikes", 0),  # Envoys may ask for signs of life as often as they like
            ("grpc.http2.bdp_probe", 0),
            ("grpc.enable_channelz", 0),
            # A burst of streams waits a moment; it must not turn into errors.
            ("grpc.server.max_pending_requests", 1 << 20),
            ("grpc.server.max_pending_requests_hard_limit", 1 << 20),
            ("grpc.server_max_unrequested_time_in_server", 3600),
        )


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

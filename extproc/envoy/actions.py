"""What is answered to Envoy: replies to the phases of an exchange, in the order given, and ``Finish`` after them."""

from __future__ import annotations

from typing import TypeAlias

import msgspec

from extproc.envoy.events import BodyMode


class Mutation(msgspec.Struct, frozen=True, cache_hash=True):
    """A change of the request's headers, and what goes with it. Decisions repeat, so one may serve many requests."""

    set: tuple[tuple[str, str], ...] = ()
    """Overwritten, never appended."""
    remove: tuple[str, ...] = ()
    metadata: tuple[tuple[str, str], ...] = ()
    """Dynamic metadata for the namespace ``aimesh``."""

    @property
    def clear_route_cache(self) -> bool:
        """Any change of the routing headers makes Envoy choose the route anew."""
        return bool(self.set or self.remove)


NO_MUTATION = Mutation()


class HeadersReply(msgspec.Struct, frozen=True):
    """Answers the request's headers: go on, with these changes."""

    mutation: Mutation = NO_MUTATION
    body_mode: BodyMode | None = None
    """Ask Envoy for the body after all (``mode_override``)."""


class BodyReply(msgspec.Struct, frozen=True):
    """Answers one piece of the request's body (all of it when BUFFERED)."""

    mutation: Mutation = NO_MUTATION
    """Counts only where the body is BUFFERED; else it went with the deferred ``HeadersReply``."""
    body: bytes | None = None
    """What goes upstream in its place; None: the piece as it came."""


class BodyEcho(msgspec.Struct, frozen=True):
    """FULL_DUPLEX_STREAMED: the next piece of the body that goes upstream, ours to send."""

    data: bytes
    end_of_stream: bool


class TrailersReply(msgspec.Struct, frozen=True):
    """Answers trailers: unchanged. ``request`` tells which."""

    request: bool = True


class ResponseReply(msgspec.Struct, frozen=True):
    """Answers a response phase that a filter sent us though we never ask for it: unchanged."""

    body: bool = False
    """It was a piece of the body, not the headers."""


class Reject(msgspec.Struct, frozen=True):
    """Ends the exchange: the client gets ``status`` and an OpenAI-style JSON error, in gRPC a status and a message."""

    status: int
    code: str
    message: str
    metadata: tuple[tuple[str, str], ...] = ()
    grpc: bool = False
    """The client speaks gRPC."""


class Finish(msgspec.Struct, frozen=True):
    """End the gRPC stream with status OK: Envoy goes on without us."""


FINISH = Finish()


Reply: TypeAlias = HeadersReply | BodyReply | BodyEcho | TrailersReply | ResponseReply | Reject

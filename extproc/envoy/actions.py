"""Actions: replies to the events of an exchange, sent in order, and ``Finish`` after the last."""

from __future__ import annotations

from typing import TypeAlias

import msgspec

from extproc.envoy.events import BodyMode


class Mutation(msgspec.Struct, frozen=True, cache_hash=True):
    """A change of the request's headers and dynamic metadata. Immutable: may be shared by many requests."""

    set: tuple[tuple[str, str], ...] = ()
    """Headers to overwrite; values are never appended."""
    remove: tuple[str, ...] = ()
    metadata: tuple[tuple[str, str], ...] = ()
    """Dynamic metadata in the namespace ``aimesh``."""
    endpoints: str = ""
    """The servers (``host:port``) of which the first that can take the request is to get it, separated by commas: a
    header, and dynamic metadata, of the Endpoint Picker Protocol. Empty: the proxy chooses.
    """

    @property
    def clear_route_cache(self) -> bool:
        """Whether Envoy has to select the route again: after any change of headers."""
        return bool(self.set or self.remove)


NO_MUTATION = Mutation()


class HeadersReply(msgspec.Struct, frozen=True, cache_hash=True):
    """Answers the request's headers: continue with these changes."""

    mutation: Mutation = NO_MUTATION
    body_mode: BodyMode | None = None
    """How Envoy shall send the body (``mode_override``); None: as configured."""


class BodyReply(msgspec.Struct, frozen=True):
    """Answers one piece of the request's body (the whole body when BUFFERED)."""

    mutation: Mutation = NO_MUTATION
    """Applied only where the body is BUFFERED; otherwise the deferred ``HeadersReply`` carries it."""
    body: bytes | None = None
    """The replacement that goes upstream; None: the piece unchanged."""


class BodyEcho(msgspec.Struct, frozen=True):
    """FULL_DUPLEX_STREAMED: the next piece of the body that goes upstream."""

    data: bytes
    end_of_stream: bool


class TrailersReply(msgspec.Struct, frozen=True):
    """Answers trailers without changes: the request's, or with ``request`` false the response's."""

    request: bool = True


class ResponseReply(msgspec.Struct, frozen=True):
    """Answers a response phase without changes, where a filter sends it to a stream that only routes."""

    body: bool = False
    """Answers a piece of the body rather than the headers."""


_GRPC_STATUS = {400: 3, 404: 5, 413: 8, 429: 8, 503: 14}
"""INVALID_ARGUMENT, NOT_FOUND, RESOURCE_EXHAUSTED, UNAVAILABLE (grpc/grpc, doc/statuscodes.md), by HTTP status."""
_UNKNOWN = 2


def grpc_status(status: int) -> int:
    """The gRPC status of a refusal with this HTTP status."""
    return _GRPC_STATUS.get(status, _UNKNOWN)


class Reject(msgspec.Struct, frozen=True):
    """Ends the exchange: the client gets ``status``, ``headers`` and ``body``; of gRPC the status that goes with it."""

    status: int
    code: str
    message: str
    metadata: tuple[tuple[str, str], ...] = ()
    grpc: bool = False
    """The client expects gRPC."""
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b""
    """The error in the shape of the request's API; of gRPC the message."""


class Answer(msgspec.Struct, frozen=True):
    """Ends the exchange: the client gets status 200 and this body from the processor itself."""

    name: str
    """What it is, for Envoy's access log."""
    headers: tuple[tuple[str, str], ...]
    body: bytes
    metadata: tuple[tuple[str, str], ...] = ()


class Finish(msgspec.Struct, frozen=True):
    """Ends the gRPC stream with status OK: Envoy continues without the processor."""


FINISH = Finish()


Reply: TypeAlias = HeadersReply | BodyReply | BodyEcho | TrailersReply | ResponseReply | Reject | Answer

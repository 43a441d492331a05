"""What the demo's model servers record of each request."""

from __future__ import annotations

import msgspec


class ReceivedRequest(msgspec.Struct, frozen=True):
    """One inference request as it arrived at a model server."""

    endpoint: str
    """The server's ``host:port``."""
    request_id: str
    path: str
    model: str
    """As the body (OpenAI) or the path (OIP) names it."""
    user: str
    routing: dict[str, list[str]]
    """Every value of every routing header that was there."""


class Usage(msgspec.Struct, frozen=True):
    """The cost of one answer as the model server knows it: tokens and, of a stream, the time to the first one."""

    request_id: str
    input_tokens: int
    output_tokens: int
    first_token: float | None = None
    """Seconds from the request's arrival at the server; None where nothing was streamed."""

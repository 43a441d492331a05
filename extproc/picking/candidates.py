"""What a pick reads beside the loads, and what comes of it."""

from __future__ import annotations

import msgspec

from extproc.picking.prompt import NO_PROMPT, Prompt

NOT_READY, NOT_HINTED, SATURATED = "none_ready", "none_hinted", "saturated"
"""Reasons of refusals: no endpoint is ready; none of those is in the proxy's subset; all are saturated."""


class Candidates(msgspec.Struct, frozen=True):
    """The endpoints of a target. A picker looks at it once: as long as nothing changes it should be the same object."""

    addresses: tuple[str, ...]
    """``ip:port``."""
    ready: bytes = b""
    """A byte for each endpoint: 1, or 0 where it is not ready or must get no request for another reason; empty: 1."""


def both(first: bytes, second: bytes) -> bytes:
    """Marks, a byte for each endpoint, where both have one."""
    marks = int.from_bytes(first, "big") & int.from_bytes(second, "big")
    return marks.to_bytes(len(first), "big")


class Request(msgspec.Struct, frozen=True):
    """What a pick knows of a request."""

    prompt: Prompt = NO_PROMPT
    key: bytes = b""
    """Of its session or user; empty: none."""
    adapter: str = ""
    """Name of the LoRA adapter that it asks for: the model's, where that may be one; empty: none."""
    priority: int = 0
    hinted: bytes = b""
    """A byte for each endpoint: 1, or 0 where it is not in the subset that the proxy names; empty: it names none."""
    waits: bool = False
    """Whether it would rather wait than go to an endpoint that is saturated."""


class Pick(msgspec.Struct, frozen=True):
    """The endpoint, and those to try after it."""

    endpoint: str
    fallbacks: tuple[str, ...] = ()
    """The best one first."""
    matched: int = 0
    """Bytes of the prompt that the endpoint probably has in its cache."""


class Refusal(msgspec.Struct, frozen=True):
    """Why none was picked."""

    status: int
    """503, or 429 where all endpoints are saturated, for what is not urgent or can wait."""
    reason: str
    retry_after: int = 0
    """Seconds; 0: not told."""


class EndpointScore(msgspec.Struct, frozen=True):
    """What a pick would make of one endpoint."""

    endpoint: str
    score: float | None
    """The least is the best; None: it can't have the request."""
    why_not: str
    """``NOT_READY`` or ``NOT_HINTED`` where it can't have the request, else empty."""
    batch: float
    """Requests that it works on; a guess where ``known`` is false."""
    known: bool
    """Whether a fresh report tells of it."""
    matched: int
    """Bytes of the prompt that it probably has in its cache."""
    expected: float
    """Bytes of it that other processes are expected to have sent there; they count where they are more."""
    saturated: bool

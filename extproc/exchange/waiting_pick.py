"""A request that waits for an endpoint with room, and for how long it may."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import TypeAlias

from extproc.bodies.request import Operation, RequestFields
from extproc.headers import Headers
from extproc.policy.decision import Decision
from extproc.policy.snapshot import Snapshot

MESSAGE_TIMEOUT = "x-aimesh-message-timeout"
"""gRPC metadata of the filter's streams, where a policy has a queue: for how long Envoy waits for a reply, as in
``0.5s``.
"""
_USUAL_TIMEOUT = 1.0
"""Seconds, where it is not told: that of all renderings but those whose bodies are streamed, which wait longer."""
_MAX_TIMEOUT = 60.0
"""Seconds that count at most, whatever is told: the metadata may be anyone's who reaches the port."""
_SHARE = 0.75
"""Of the timeout; the rest is for the way to us and back, and for what keeps a busy event loop."""
_SECONDS = re.compile(r"(\d{1,9}(?:\.\d{1,9})?)s", re.ASCII)

Asked: TypeAlias = tuple[Headers, str | None, bytes]
"""A request's headers, its key in the body, and its random bytes."""
Content: TypeAlias = tuple[Operation, RequestFields, bytes]
"""What it asks for: the operation, the fields of the body, and the body without its coding."""
Asks: TypeAlias = tuple[Decision, Asked, Content, tuple[str, ...] | None, Snapshot]
"""What an endpoint is picked by (``exchange.picks.Picks.pick``)."""
Names: TypeAlias = tuple[str, str, str]
"""Policy, version and pool."""
CallLater: TypeAlias = Callable[[float, Callable[[], None]], None]
"""Has the thread that serves exchanges call something after some seconds."""


def patience(metadata: Iterable[tuple[str, str | bytes]]) -> float:
    """Seconds that a request may wait. ``metadata``: of its gRPC stream."""
    for name, value in metadata:
        if name == MESSAGE_TIMEOUT and isinstance(value, str) and (found := _SECONDS.fullmatch(value)):
            return _SHARE * min(float(found[1]), _MAX_TIMEOUT)
    return _SHARE * _USUAL_TIMEOUT


class WaitingPick:
    """One of those. As an action of its exchange it says that the replies beside it wait with it
    (``exchange.held_answer``).
    """

    __slots__ = ("asks", "cluster", "endpoint", "names", "resume", "room", "since", "until", "verdict")

    def __init__(self, cluster: str, names: Names, asks: Asks, now: float) -> None:
        """``cluster``: that of the endpoints; ``now``: seconds."""
        self.cluster, self.names, self.asks = cluster, names, asks
        self.since = self.until = now
        """When it came, and until when it may wait."""
        self.resume: Callable[[], None] = _nothing
        """Has its exchange go on with what ``PickQueues.finish`` gives."""
        self.verdict = ""
        """Why it waits no longer (``exchange.notes.QUEUED``); empty while it does."""
        self.room = b""
        """A byte for each endpoint: 0 where there is no room for it; empty: anywhere."""
        self.endpoint = ""
        """Where it goes, once that is known."""


def _nothing() -> None:
    pass

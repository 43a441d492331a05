"""For ``extproc explain --endpoints``: the score of every endpoint, and why."""

from __future__ import annotations

from typing import Any

from extproc.exchange.notes import Picked
from extproc.exchange.picks import Asked, Content, Picks
from extproc.picking.candidates import NOT_HINTED, NOT_READY, EndpointScore
from extproc.picking.loads import EndpointLoads, unknown
from extproc.policy.decision import Decision
from extproc.policy.snapshot import Snapshot

_WHY_NOT = {NOT_READY: "no connection to it can be made", NOT_HINTED: "it is not in the proxy's subset"}


class NothingKnown:
    """Of endpoints, and nothing is kept in mind (``KnownLoads``)."""

    def loads(self, endpoints: tuple[str, ...]) -> EndpointLoads:
        """Unknown."""
        return unknown(len(endpoints))

    def begin(self, endpoint: str) -> None:
        """Not kept."""

    def end(self, endpoint: str) -> None:
        """Not kept."""

    def follow(self) -> None:
        """Nothing is kept."""


class ExplainedPicks(Picks):
    """Those of a process that has sent nothing yet, and to which no server has told its load."""

    def __init__(self) -> None:
        super().__init__(NothingKnown())
        self.scores: list[EndpointScore] = []

    def pick(
        self, decision: Decision, asked: Asked, content: Content, subset: tuple[str, ...] | None, snapshot: Snapshot
    ) -> tuple[str, Picked]:
        """As ``Picks`` does it; keeps the scores."""
        self.scores = self.explain(decision, asked, content, subset, snapshot)
        return super().pick(decision, asked, content, subset, snapshot)

    def rows(self) -> list[dict[str, Any]]:
        """The scores as plain data, in the order of the endpoints."""
        return [{"endpoint": row.endpoint, "score": row.score, "why": _why(row)} for row in self.scores]


def _why(row: EndpointScore) -> str:
    if row.why_not:
        return _WHY_NOT[row.why_not]
    told = "by its own report" if row.known else "it has told nothing"
    cached = f", {row.matched} bytes of the prompt cached" if row.matched else ""
    return f"{row.batch:g} requests ({told}){cached}{', saturated' if row.saturated else ''}"

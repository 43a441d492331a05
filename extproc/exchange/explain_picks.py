"""For ``extproc explain --endpoints``: the score of every endpoint, and why."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from extproc.exchange.notes import Picked
from extproc.exchange.picks import Picks
from extproc.exchange.waiting_pick import Asked, Content, WaitingPick
from extproc.picking.candidates import NOT_HINTED, NOT_READY, EndpointScore
from extproc.picking.endpoint_state import EndpointState
from extproc.picking.loads import (
    AGE,
    CACHE,
    IN_FLIGHT,
    RUNNING,
    SENT_SINCE,
    WAITING,
    EndpointLoads,
    unknown_table,
)
from extproc.policy.decision import Decision
from extproc.policy.snapshot import Snapshot

_WHY_NOT = {NOT_READY: "no connection to it can be made", NOT_HINTED: "it is not in the proxy's subset"}


class ToldLoads:
    """Loads as processors tell them to people; nothing is kept in mind of what is sent (``KnownLoads``)."""

    def __init__(self, states: Mapping[str, EndpointState]) -> None:
        """``states``: by endpoint; of others nothing is known."""
        self._states = states

    def loads(self, endpoints: tuple[str, ...]) -> EndpointLoads:
        """The same each time."""
        table = unknown_table(len(endpoints))
        adapters = [self._states[e].adapters if e in self._states else () for e in endpoints]
        for column, endpoint in enumerate(endpoints):
            if (state := self._states.get(endpoint)) is None:
                continue
            told = ((WAITING, state.waiting), (RUNNING, state.running), (CACHE, state.cache), (AGE, state.age))
            for row, number in told:
                if number is not None:
                    table[row, column] = number
            table[IN_FLIGHT, column] = state.in_flight
            table[SENT_SINCE, column] = state.in_flight if state.age is None else 0.0
        return EndpointLoads(table, tuple(map(frozenset, adapters)) if any(adapters) else ())

    def begin(self, endpoint: str) -> None:
        """Not kept."""

    def end(self, endpoint: str) -> None:
        """Not kept."""

    def follow(self) -> None:
        """Nothing is kept."""


class ExplainedPicks(Picks):
    """Those of a process that has sent nothing yet."""

    def __init__(self, states: Mapping[str, EndpointState]) -> None:
        """``states``: see ``ToldLoads``."""
        super().__init__(ToldLoads(states))
        self.scores: list[EndpointScore] = []

    def pick(
        self,
        decision: Decision,
        asked: Asked,
        content: Content,
        subset: tuple[str, ...] | None,
        snapshot: Snapshot,
        room: bytes | None = None,
    ) -> tuple[str, Picked | WaitingPick]:
        """As ``Picks`` does it; keeps the scores."""
        self.follow(snapshot)
        self.scores = self.explain(decision, asked, content, subset, snapshot)
        return super().pick(decision, asked, content, subset, snapshot, room)

    def rows(self) -> list[dict[str, Any]]:
        """The scores as plain data, in the order of the endpoints."""
        return [{"endpoint": row.endpoint, "score": row.score, "why": _why(row)} for row in self.scores]


def _why(row: EndpointScore) -> str:
    if row.why_not:
        return _WHY_NOT[row.why_not]
    told = "by its own report" if row.known else "it has told nothing"
    cached = f", {row.matched} bytes of the prompt cached" if row.matched else ""
    if row.expected > row.matched:
        cached = f", {row.expected:.0f} bytes of the prompt expected there"
    return f"{row.batch:g} requests ({told}){cached}{', saturated' if row.saturated else ''}"

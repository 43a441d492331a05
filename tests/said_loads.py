"""Loads of endpoints as a test says them, in the place of what servers tell."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from extproc.picking.loads import AGE, RUNNING, WAITING, EndpointLoads, unknown_table


class SaidLoads:
    """Keeps count of what is sent, which changes no load (``exchange.picks.KnownLoads``)."""

    def __init__(self) -> None:
        self.waiting: Mapping[str, float] = {}
        """Requests that wait, by ``ip:port``; of others nothing is known."""
        self.sent: Counter[str] = Counter()

    def loads(self, endpoints: tuple[str, ...]) -> EndpointLoads:
        table = unknown_table(len(endpoints))
        for column, endpoint in enumerate(endpoints):
            if endpoint in self.waiting:
                table[WAITING, column], table[RUNNING, column], table[AGE, column] = self.waiting[endpoint], 0, 0
        return EndpointLoads(table)

    def begin(self, endpoint: str) -> None:
        self.sent[endpoint] += 1

    def end(self, endpoint: str) -> None:
        self.sent[endpoint] -= 1

    def follow(self) -> None:
        """Nothing is kept."""

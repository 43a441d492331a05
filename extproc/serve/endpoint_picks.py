"""The endpoint picks of this process, made where a policy first wants them: numpy takes a tenth of a second to load."""

from __future__ import annotations

from collections.abc import Callable
from time import perf_counter
from typing import TYPE_CHECKING

from extproc.exchange.breakers import Breakers
from extproc.policy.snapshot import Snapshot

if TYPE_CHECKING:
    from extproc.exchange.picks import KnownLoads, Picks


AVOIDED_FOR = 2.0
"""Seconds for which an endpoint that Envoy could not reach gets nothing while others may: until it is known whether we
can (``reachability_feed``).
"""
MAX_AVOIDED = 1_000


class EndpointPicks:
    """Used by the event loop's thread alone."""

    def __init__(
        self,
        board: Callable[[], KnownLoads],
        unreachable: Callable[[], frozenset[str]],
        breakers: Breakers,
        clock: Callable[[], float] = perf_counter,
    ) -> None:
        """``board``: gives what is known of endpoints; ``unreachable``: see ``Picks``; ``breakers``: of the process,
        those of endpoints among them; ``clock``: seconds.
        """
        self._board, self._unreachable, self._breakers, self._clock = board, unreachable, breakers, clock
        self._avoided: dict[str, float] = {}
        """By endpoint until when."""
        self._avoided_now: frozenset[str] = frozenset()
        self._snapshot, self._wanted = Snapshot(), False
        self._made: tuple[KnownLoads, Picks] | None = None

    def of(self, snapshot: Snapshot) -> Picks | None:
        """Those for requests of this snapshot, which is in force; None where no policy of it has endpoints picked."""
        if snapshot is not self._snapshot:
            self._snapshot, self._wanted = snapshot, any(policy.picking for policy in snapshot.policies)
            if self._wanted:
                self._get()[1].follow(snapshot)
        return self._get()[1] if self._wanted else None

    def ended(self, endpoint: str, *, reached: bool) -> None:
        """A request has ended for which the endpoint was picked, here or by another processor. ``reached``: Envoy had a
        connection to it.
        """
        self._get()[0].end(endpoint)
        if not reached and len(self._avoided) < MAX_AVOIDED:
            self._avoided[endpoint] = self._clock() + AVOIDED_FOR
            self._avoided_now = frozenset(self._avoided)

    def waiting(self, snapshot: Snapshot) -> dict[tuple[str, str, str], int]:
        """Requests that wait for an endpoint, by policy, version and pool: 0 where they may by this snapshot, which is
        in force, and none does. Any thread may ask.
        """
        queued = {policy.name for policy in snapshot.policies if policy.picking and policy.picking.max_queue}
        found = {
            (target.policy, target.version, target.pool): 0
            for (policy, _), targets in snapshot.targets.items()
            if policy in queued
            for target in targets
        }
        return found if self._made is None else found | self._made[1].queues.waiting()

    def avoided(self) -> frozenset[str]:
        """The endpoints that get nothing while others may; the same object while they are the same."""
        if self._avoided:
            now = self._clock()
            if any(until <= now for until in self._avoided.values()):
                self._avoided = {endpoint: until for endpoint, until in self._avoided.items() if until > now}
                self._avoided_now = frozenset(self._avoided)
        return self._avoided_now

    def _get(self) -> tuple[KnownLoads, Picks]:
        if self._made is None:
            from extproc.exchange.picks import Picks

            board = self._board()
            self._made = board, Picks(board, self._unreachable, self.avoided, self._clock, self._breakers.endpoints)
        return self._made

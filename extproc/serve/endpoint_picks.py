"""The endpoint picks of this process, made where a policy first wants them: numpy takes a tenth of a second to load."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from extproc.policy.snapshot import Snapshot

if TYPE_CHECKING:
    from extproc.exchange.picks import KnownLoads, Picks


class EndpointPicks:
    """Used by the event loop's thread alone."""

    def __init__(self, board: Callable[[], KnownLoads], unreachable: Callable[[], frozenset[str]]) -> None:
        """``board``: gives what is known of endpoints; ``unreachable``: see ``Picks``."""
        self._board, self._unreachable = board, unreachable
        self._snapshot, self._wanted = Snapshot(), False
        self._made: tuple[KnownLoads, Picks] | None = None

    def of(self, snapshot: Snapshot) -> Picks | None:
        """Those for requests of this snapshot; None where no policy of it has endpoints picked."""
        if snapshot is not self._snapshot:
            self._snapshot, self._wanted = snapshot, any(policy.picking for policy in snapshot.policies)
        return self._get()[1] if self._wanted else None

    def ended(self, endpoint: str) -> None:
        """A request has ended for which the endpoint was picked, here or by another processor."""
        self._get()[0].end(endpoint)

    def _get(self) -> tuple[KnownLoads, Picks]:
        if self._made is None:
            from extproc.exchange.picks import Picks

            board = self._board()
            self._made = board, Picks(board, self._unreachable)
        return self._made

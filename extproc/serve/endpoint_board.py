"""What a process knows of endpoints that are picked: its row of the board, made where a policy first wants one."""

from __future__ import annotations

import time
from threading import Lock
from typing import TYPE_CHECKING

from extproc.policy.snapshot import Snapshot
from extproc.serve.board_keeper import BoardKeeper
from extproc.serve.options import ServeOptions
from extproc.serve.shared_board import SharedBoard
from extproc.telemetry.endpoint_gauges import CollectorGauges, EndpointsByTarget
from extproc.telemetry.gpu_gauges import GpuGauge, gpu_gauges

if TYPE_CHECKING:
    from extproc.picking.worker_row import WorkerRow  # numpy takes a tenth of a second to load


class EndpointBoard:
    """The process' part of the board; where it is no worker, all of it."""

    def __init__(self, options: ServeOptions) -> None:
        self._shared = SharedBoard(options.siblings, options.board)
        self._worker = options.board_row
        self._keeper = None if options.supervised else BoardKeeper(self._shared)
        self._snapshot = Snapshot()
        self._row: WorkerRow | None = None
        self._lock = Lock()

    @property
    def row(self) -> WorkerRow:
        """What picks read and count."""
        with self._lock:
            if self._row is None:
                from extproc.picking.worker_row import WorkerRow

                self._row = WorkerRow(self._shared.board, self._worker, time.monotonic)
            return self._row

    def start(self) -> None:
        """Starts what keeps the board, unless a supervisor does."""
        if self._keeper is not None:
            self._keeper.start()

    def stop(self) -> None:
        """Stops it."""
        if self._keeper is not None:
            self._keeper.stop()

    def follow(self, snapshot: Snapshot) -> None:
        """The endpoints of these policies, from now on."""
        if self._row is not None or any(policy.picking for policy in snapshot.policies):
            from extproc.exchange import picks  # noqa: F401 - loaded before the first request needs it
            from extproc.picking.wanted_endpoints import wanted_endpoints

            self.row.want(wanted_endpoints(snapshot))
        self._snapshot = snapshot

    def endpoints(self) -> EndpointsByTarget:
        """The endpoints of each target that is picked from; of several workers, who see the same, the first tells."""
        if self._row is None or self._worker:
            return {}
        from extproc.picking.wanted_endpoints import picked_targets

        return {
            (target.policy, target.version, target.pool): self.row.describe(
                (*target.present(grpc=False), *target.grpc_endpoints)
            )
            for _, target in picked_targets(self._snapshot)
        }

    def gauges(self) -> tuple[EndpointsByTarget, CollectorGauges | None, list[GpuGauge]]:
        """The endpoints, the collector, and what custom metrics say of the endpoints' GPUs."""
        endpoints = self.endpoints()
        return endpoints, self.collector(), gpu_gauges(self._snapshot, endpoints)

    def collector(self) -> CollectorGauges | None:
        """Its numbers; None where another process keeps it, or none is needed."""
        return self._keeper.gauges() if self._keeper is not None else None

"""The targets that there are and have been, by the names that a proxy has for their clusters.

The access log tells of a long answer after the policies have changed.
"""

from __future__ import annotations

from collections.abc import Mapping

from extproc.exchange.request_outcome import Accounts
from extproc.policy.snapshot import Snapshot
from extproc.policy.target import Target
from extproc.render.istio.destinations import targets_by_cluster
from extproc.render.istio.istio_options import IstioOptions

MAX_OLD_CLUSTERS = 1_000
"""Clusters that are remembered though no policy has them any more."""


class KnownTargets:
    """Those of one mesh, or of the Envoys that we configure whole."""

    def __init__(self, mesh_namespace: str | None) -> None:
        """``mesh_namespace``: Istio has named the clusters; the namespace of policies that name none."""
        self._mesh_namespace = mesh_namespace
        self._snapshot: Snapshot | None = None
        self._found: dict[str, tuple[Target, ...]] = {}
        self._accounts = Accounts(Snapshot(), self._found)

    def accounts(self, snapshot: Snapshot) -> Accounts:
        """Of requests that these targets served. ``snapshot``: the policies in force."""
        targets = self.by_cluster(snapshot)
        if self._accounts.targets is not targets:
            self._accounts = Accounts(snapshot, targets)
        return self._accounts

    def by_cluster(self, snapshot: Snapshot) -> Mapping[str, tuple[Target, ...]]:
        """``snapshot``: the policies in force. Mostly one target; more where they are one Service."""
        if snapshot is not self._snapshot:
            self._snapshot = snapshot
            new = self._names(snapshot)
            old = {name: targets for name, targets in self._found.items() if name not in new}
            self._found = dict(list(old.items())[-MAX_OLD_CLUSTERS:]) | new
        return self._found

    def _names(self, snapshot: Snapshot) -> dict[str, tuple[Target, ...]]:
        if self._mesh_namespace is not None:
            return targets_by_cluster(snapshot, IstioOptions(namespace=self._mesh_namespace))
        return {name: (target,) for name, target in snapshot.target_by_cluster.items()}

"""Finds out which targets have no server that can be reached, so that another version answers their users."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable

from extproc.fetch.steps import Steps
from extproc.policy.pool_load import PoolLoads
from extproc.policy.snapshot import Snapshot, Version
from extproc.policy.target import Target, vacant_clusters
from extproc.serve.connection_attempts import Port, attempt, is_of_server
from extproc.serve.polling_thread import PollingThread
from extproc.telemetry.serving_gauges import TargetName

log = logging.getLogger(__name__)

INTERVAL = 0.5
"""Seconds between two looks at a server; more where that would be more than ``LOOKS`` a second."""
LOOKS = 400
"""Connections a second: 200 servers have two each."""
FAILURES = 2
"""Looks in a row that must fail before a server is down; one that succeeds is enough for it to be up."""


class Server:
    """What is known of one port."""

    __slots__ = ("_failures", "_reached")

    def __init__(self) -> None:
        self._failures, self._reached = 0, False

    @property
    def down(self) -> bool:
        """Whether nobody can reach it."""
        return self._failures >= FAILURES

    def note(self, error: OSError | None) -> bool:
        """One look at it; whether that changed ``down``. Errors of this machine, as that no more files may be open, say
        nothing. Nor does a name that never led anywhere from here: the proxy may stand elsewhere. Only a refused
        connection then says that no server is there.
        """
        before = self.down
        if error is None:
            self._reached, self._failures = True, 0
        elif is_of_server(error) and (self._reached or isinstance(error, ConnectionRefusedError)):
            self._failures += 1
        return self.down is not before


class ReachabilityFeed(PollingThread[Port, "OSError | None"]):
    """A thread that opens a connection to each server now and then, and closes it: of policies that have another
    target, or pick endpoints, and no others. ``loads`` gets the clusters (``Target.cluster_of``) whose servers are all
    down, and the servers that are. Of those that have none at present the snapshot tells at once (``Snapshot.vacant``).
    """

    def __init__(
        self,
        snapshot: Callable[[], Snapshot],
        loads: PoolLoads,
        count_error: Callable[[str], None],
        *,
        interval: float = INTERVAL,
    ) -> None:
        super().__init__("reachability-feed", interval, count_error)
        self._snapshot, self._loads, self._least_interval = snapshot, loads, interval
        self.up: dict[TargetName, int] = {}
        """For each watched target 1, or 0 where all of its servers are down, or all of those for gRPC."""
        self._down: frozenset[str] = frozenset()
        """Clusters of which it was told that they are down, those without servers as well."""
        self._targets: list[Target] = []
        self._servers: dict[Port, Server] = {}

    def _items(self) -> Iterable[Port]:
        self._targets = watched(self._snapshot())
        ports = dict.fromkeys(port for target in self._targets for each in _clusters(target).values() for port in each)
        self._servers = {port: self._servers.get(port) or Server() for port in ports}
        self._interval = max(self._least_interval, len(ports) / LOOKS)
        self._tell()
        return ports

    def _ask(self, item: Port) -> Steps[OSError | None]:
        return attempt(item)

    def _note(self, item: Port, outcome: OSError | None) -> None:
        if self._servers[item].note(outcome):
            self._tell()

    def _tell(self) -> None:
        dead = {t: [name for name, ports in _clusters(t).items() if self._all_down(ports)] for t in self._targets}
        down = frozenset(name for names in dead.values() for name in names)
        for cluster in sorted(down - self._down):
            log.warning(
                "%s is down: none of its servers can be reached; `onVersionDown` says what its users get", cluster
            )
        for cluster in sorted(self._down - down):
            log.info("%s can be reached again", cluster)
        unreachable = frozenset(port.endpoint for port, server in self._servers.items() if server.down)
        if unreachable != self._loads.unreachable:
            self._loads.unreachable = unreachable
        self._down = down
        self._loads.down = down - vacant_clusters(self._targets)
        self.up = {(t.policy, t.version, t.pool): int(not names) for t, names in dead.items()}

    def _all_down(self, ports: Iterable[Port]) -> bool:
        return all(self._servers[port].down for port in ports)


def watched(snapshot: Snapshot) -> list[Target]:
    """The targets of policies that have more than one to answer clients, or pick endpoints."""
    found = []
    for policy in snapshot.policies:
        versions = policy.answering or ((Version(""),) if policy.picking else ())
        mine = [target for version in versions for target in snapshot.targets[policy.name, version.name]]
        found += mine if len(mine) > 1 or policy.picking else []
    return found


def _clusters(target: Target) -> dict[str, list[Port]]:
    """The ports of its servers by cluster: that for gRPC as well, where it has servers of its own."""
    tls = target.upstream.tls
    return {
        target.cluster_of(grpc=grpc): [Port(e, tls.name_of(e) if tls else "") for e in target.present(grpc=grpc)]
        for grpc in (False, True)
    }

"""Finds out which targets have no server that can be reached, so that another version answers their users."""

from __future__ import annotations

import logging
import socket
from collections.abc import Callable, Iterable
from concurrent.futures import Executor

from extproc.policy.pool_load import PoolLoads
from extproc.policy.snapshot import Snapshot
from extproc.policy.target import Target
from extproc.serve.polling_thread import TIMEOUT, PollingThread
from extproc.telemetry.serving_gauges import TargetName

log = logging.getLogger(__name__)

INTERVAL = 0.5
"""Seconds between two looks at a server."""
FAILURES = 2
"""Looks in a row that must fail before a server is down; one that succeeds is enough for it to be up."""


class Server:
    """What is known of one endpoint."""

    __slots__ = ("_failures", "_reached")

    def __init__(self) -> None:
        self._failures, self._reached = 0, False

    @property
    def down(self) -> bool:
        """Whether nobody can reach it."""
        return self._failures >= FAILURES

    def note(self, error: OSError | None) -> None:
        """One look at it. A name that never led anywhere from here says nothing: the proxy may stand elsewhere. Only
        a refused connection says that no server is there.
        """
        if error is None:
            self._reached, self._failures = True, 0
        elif self._reached or isinstance(error, ConnectionRefusedError):
            self._failures += 1


class ReachabilityFeed(PollingThread):
    """A thread that opens a connection to each server now and then, and closes it: of policies that have another
    target, and no others. ``loads`` gets the clusters of targets whose servers are all down.
    """

    def __init__(self, snapshot: Callable[[], Snapshot], loads: PoolLoads, *, interval: float = INTERVAL) -> None:
        super().__init__("reachability-feed", interval)
        self._snapshot, self._loads = snapshot, loads
        self.up: dict[TargetName, int] = {}
        """1 or 0 for each watched target."""
        self._servers: dict[str, Server] = {}

    def _look(self, executor: Executor) -> None:
        targets = watched(self._snapshot())
        endpoints = list(dict.fromkeys(endpoint for target in targets for endpoint in target.endpoints))
        self._servers = {endpoint: self._servers.get(endpoint) or Server() for endpoint in endpoints}
        for endpoint, error in zip(endpoints, executor.map(_connect, endpoints), strict=True):
            self._servers[endpoint].note(error)
        self._tell(targets)

    def _tell(self, targets: Iterable[Target]) -> None:
        up = {t: not all(self._servers[endpoint].down for endpoint in t.endpoints) for t in targets}
        down = frozenset(target.cluster for target, serves in up.items() if not serves)
        for cluster in sorted(down - self._loads.down):
            log.warning("%s is down: none of its servers can be reached; its users get another version", cluster)
        for cluster in sorted(self._loads.down - down):
            log.info("%s can be reached again", cluster)
        self._loads.down = down
        self.up = {(t.policy, t.version, t.pool): int(serves) for t, serves in up.items()}


def watched(snapshot: Snapshot) -> list[Target]:
    """The targets of policies that have more than one to answer clients."""
    found = []
    for policy in snapshot.policies:
        mine = [target for version in policy.answering for target in snapshot.targets[policy.name, version.name]]
        found += mine if len(mine) > 1 else []
    return found


def _connect(endpoint: str) -> OSError | None:
    """None where a connection came about."""
    host, _, port = endpoint.rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), TIMEOUT).close()
    except OSError as error:
        return error
    return None

"""Changes the routes and clusters of a running Envoy, by files that it watches."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from pathlib import Path

import msgspec

from extproc.errors import SetupError
from extproc.gateway.envoy_process import Envoy
from extproc.gateway.secret_files import SecretFiles
from extproc.policy.snapshot import Snapshot
from extproc.render.document import Doc
from extproc.render.envoy import bootstrap as render
from extproc.render.envoy.clusters import secrets
from extproc.render.envoy.downstream_tls import downstream_secrets
from extproc.render.envoy.envoy_options import NAMESPACE, EnvoyOptions
from extproc.render.envoy.routes import ROUTES

_POLL_INTERVAL = 0.02
"""Seconds between two polls of Envoy's admin port."""
_CLUSTER_REMOVAL_DELAY = 1.0
"""Seconds that a cluster is kept once no route leads to it; a decision by the old routes takes far less."""

_MAX_LOG_DELAY = 1.0
"""Seconds within which Envoy writes why it refuses something, after it has counted that it does."""


class DiscoveryFiles:
    """Clusters, routes and listeners in files that Envoy watches (xDS from the file system). It takes each change
    without a restart and without a lost request.
    """

    def __init__(self, options: EnvoyOptions, directory: Path) -> None:
        self._options = msgspec.structs.replace(options, discovery_directory=str(directory))
        self._directory = directory
        self._revision = 0
        self._clusters: dict[str, Doc] = {}
        self._secrets = SecretFiles(self._write)

    def start(self, snapshot: Snapshot) -> Doc:
        """Writes the files. Returns the bootstrap document that has Envoy watch them.

        Raises ``SetupError`` where a file that the policy or a flag names can't be read.
        """
        self._directory.mkdir(parents=True, exist_ok=True)
        self._secrets.follow([*secrets(snapshot), *downstream_secrets(self._options)])
        parts = render.discovery_resources(snapshot, self._options)
        for file, resources in parts.items():
            self._write(file, resources)
        self._clusters = {c["name"]: c for c in parts[render.CLUSTERS]}
        return render.file_discovery_bootstrap(self._options)

    def follow(self, envoy: Envoy, snapshot: Snapshot, timeout: float = 10.0) -> None:
        """Makes a running Envoy serve ``snapshot``: adds clusters, changes routes to them, then removes old clusters.

        Raises ``SetupError`` where a file that the policy or a flag names can't be read, or Envoy refuses one of ours
        or does not take it within ``timeout`` seconds: it then goes on with what it had.
        """
        self._secrets.follow([*secrets(snapshot), *downstream_secrets(self._options)])
        parts = render.discovery_resources(snapshot, self._options)
        clusters = {c["name"]: c for c in parts[render.CLUSTERS]}
        rds = f"http.{NAMESPACE}.rds.{ROUTES}"
        deadline = time.monotonic() + timeout
        if clusters != self._clusters:
            self._apply(
                envoy, render.CLUSTERS, [*(self._clusters | clusters).values()], "cluster_manager.cds", deadline
            )
        self._apply(envoy, render.ROUTES_FILE, parts[render.ROUTES_FILE], rds, deadline)
        self._apply(envoy, render.LISTENERS, parts[render.LISTENERS], "listener_manager.lds", deadline)
        if self._clusters.keys() - clusters.keys():
            # A request uses the routes in force when it came, also while it is still being decided.
            time.sleep(_CLUSTER_REMOVAL_DELAY)
            self._apply(envoy, render.CLUSTERS, [*clusters.values()], "cluster_manager.cds", deadline)
        self._clusters = clusters

    def stop_listening(self, envoy: Envoy, timeout: float = 2.0) -> None:
        """Makes a running Envoy take no new connections; those that are open go on until their requests have ended.

        Raises ``SetupError`` where Envoy does not do so within ``timeout`` seconds.
        """
        self._apply(envoy, render.LISTENERS, [], "listener_manager.lds", time.monotonic() + timeout)

    def refresh_secrets(self) -> None:
        """Gives Envoy the contents of the policy's files anew where they have changed. Never raises ``SetupError``."""
        self._secrets.refresh()

    def _apply(self, envoy: Envoy, file: str, resources: list[Doc], stat: str, deadline: float) -> None:
        refusals, logged = _count_refusals(envoy, stat), envoy.child.last_line()
        version = self._write(file, resources)
        while not self._is_applied(envoy, stat, version):
            if _count_refusals(envoy, stat) != refusals:
                reason = _next_line(envoy, logged)
                raise SetupError(f"Envoy refuses the policy's {file.removesuffix('.json')}: {reason[:500]}")
            if time.monotonic() > deadline:
                raise SetupError(f"Envoy did not take the policy's {file.removesuffix('.json')} in time")
            time.sleep(_POLL_INTERVAL)

    @staticmethod
    def _is_applied(envoy: Envoy, stat: str, version: str) -> bool:
        if envoy.text_readout(f"{stat}.version_text") != version:
            return False
        return not any(_warming(envoy).values())

    def _write(self, file: str, resources: list[Doc]) -> str:
        """Replaces a file by a rename, which Envoy watches for. Returns the version that Envoy will report."""
        self._revision += 1
        version = str(self._revision)
        fresh = self._directory / f".{file}"
        fresh.write_text(json.dumps(render.discovery_response(file, version, resources)))
        fresh.replace(self._directory / file)
        return version


def _warming(envoy: Envoy) -> Mapping[str, int]:
    """Numbers of clusters whose names are still being resolved, and of listeners whose routes are still missing."""
    clusters = envoy.stats("cluster_manager.warming_clusters")
    return clusters | envoy.stats("listener_manager.total_listeners_warming")


def _count_refusals(envoy: Envoy, stat: str) -> int:
    """How many updates Envoy could not read or refused."""
    return sum(sum(envoy.stats(f"{stat}.{why}").values()) for why in ("update_failure", "update_rejected"))


def _next_line(envoy: Envoy, logged: str) -> str:
    """The last line of Envoy's log, once it is no longer ``logged``, or after ``_MAX_LOG_DELAY``."""
    deadline = time.monotonic() + _MAX_LOG_DELAY
    while (line := envoy.child.last_line()) == logged and time.monotonic() < deadline:
        time.sleep(_POLL_INTERVAL)
    return line

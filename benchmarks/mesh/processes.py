"""Starts processes and an Envoy, and waits until they are there."""

from __future__ import annotations

import http.client
import json
import socket
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

from benchmarks.mesh.process import Process
from benchmarks.mesh.scenarios import Doc
from extproc.gateway.envoy_binary import find_envoy

PROCESSOR_CORE, OTHER_CORE = 1, 0
START, SLOW_START = 20.0, 600.0
"""Seconds until a process must be ready, by itself or under a tool."""


def start_envoy(
    stack: ExitStack, directory: Path, document: Doc, under: Sequence[str] = ()
) -> tuple[Process, int, str]:
    """An Envoy of one worker, the port that it took, and the address of its admin port.

    ``under``: the command of a tool that runs it, and slows it down.
    """
    admin = directory / "admin.txt"
    config = directory / "envoy.json"
    config.write_text(json.dumps(document))
    command = [*under, find_envoy(), "-c", str(config), "--concurrency", "1", "--disable-hot-restart"]
    command += ["--admin-address-path", str(admin), "--log-level", "error"]
    envoy = stack.enter_context(Process(command, OTHER_CORE, directory / "envoy.log"))
    ports: list[int] = []

    def listens() -> bool:
        if not admin.exists():
            return False
        try:
            found = get(admin.read_text().strip(), "/listeners?format=json").get("listener_statuses", [])
        except OSError:
            return False
        ports.extend(one["local_address"]["socket_address"]["port_value"] for one in found)
        return bool(ports)

    wait(listens, envoy, SLOW_START if under else START)
    return envoy, ports[0], admin.read_text().strip()


def get(address: str, path: str) -> dict[str, Any]:
    """The JSON document that a port for people has there. Raises ``OSError``."""
    with closing(http.client.HTTPConnection(address, timeout=5)) as connection:
        connection.request("GET", path)
        found: dict[str, Any] = json.loads(connection.getresponse().read())
    return found


def listens(address: str) -> bool:
    """Whether somebody takes connections at ``host:port`` or ``unix://path``."""
    if address.startswith("unix://"):
        family, where = socket.AF_UNIX, address.removeprefix("unix://")
    else:
        host, _, port = address.rpartition(":")
        family, where = socket.AF_INET, (host, int(port))  # type: ignore[assignment]
    with socket.socket(family) as probe:
        return probe.connect_ex(where) == 0


def wait(condition: Callable[[], object], process: Process, seconds: float = START) -> None:
    """Returns as soon as ``condition`` holds. Raises RuntimeError where the process dies or time runs out."""
    deadline = time.monotonic() + seconds
    while not condition():
        process.check()
        if time.monotonic() > deadline:
            raise RuntimeError(f"not ready in time:\n{process.log.read_text()[-2000:]}")
        time.sleep(0.02)

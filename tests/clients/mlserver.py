"""Real MLServers, with REST and gRPC on two ports each, under one policy: ``make test-mlserver``.

Arguments: the Python of an environment with MLServer (``mlserver.txt``), and of one with the SDKs of
``requirements.txt``. Users are sticky: each must get one version, whichever protocol is used.
"""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import sys
import tempfile
from collections import Counter
from contextlib import ExitStack
from pathlib import Path

from extproc.gateway.envoy_process import Envoy
from extproc.gateway.free_ports import free_addresses
from extproc.policy.snapshot import Policy, Snapshot, Sticky, Version
from extproc.render.envoy.bootstrap import EnvoyOptions, bootstrap
from tests.envoy.conftest import Processor
from tests.waiting import until

HERE = Path(__file__).parent
USERS = 40


def _listens(address: str) -> bool:
    host, _, port = address.rpartition(":")
    with socket.socket() as client:
        return client.connect_ex((host, int(port))) == 0


def started(stack: ExitStack, python: str, version: str) -> Version:
    """A running MLServer with the model ``m`` in this version."""
    folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
    addresses = free_addresses(3)
    ports = [int(address.rpartition(":")[2]) for address in addresses]
    names = ("http_port", "grpc_port", "metrics_port")
    settings = {"host": "127.0.0.1", "parallel_workers": 0, **dict(zip(names, ports, strict=True))}
    model = {"name": "m", "implementation": "mlserver_model.Versioned", "parameters": {"version": version}}
    (folder / "settings.json").write_text(json.dumps(settings))
    (folder / "model-settings.json").write_text(json.dumps(model))
    shutil.copy(HERE / "mlserver_model.py", folder)
    log = stack.enter_context((folder / "log.txt").open("w"))
    command = [str(Path(python).with_name("mlserver")), "start", str(folder)]
    child = subprocess.Popen(command, stdout=log, stderr=log)
    stack.callback(child.wait)
    stack.callback(child.terminate)

    def serves() -> bool:
        assert child.poll() is None, (folder / "log.txt").read_text()
        return all(map(_listens, addresses[:2])) and "Loaded model" in (folder / "log.txt").read_text()

    until(serves, seconds=240)
    return Version(version, 1, (addresses[0],), grpc_endpoints=(addresses[1],))


def main() -> int:
    """Prints what became of the users; returns the exit status."""
    mlserver, clients = sys.argv[1:]
    with ExitStack() as stack:
        versions = tuple(started(stack, mlserver, version) for version in ("v1", "v2"))
        snapshot = Snapshot((Policy("m", models=("m",), versions=versions, sticky=Sticky(header="x-user-id")),))
        processor = Processor(snapshot)
        stack.callback(processor.stop)
        options = EnvoyOptions(
            listen="127.0.0.1:0", admin="127.0.0.1:0", processors=(processor.address,), access_log=""
        )
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        envoy = stack.enter_context(Envoy(bootstrap(snapshot, options), folder))
        envoy.wait_ready()
        command = [clients, str(HERE / "mlserver_calls.py"), envoy.listen_address, str(USERS)]
        printed = subprocess.run(command, stdout=subprocess.PIPE, check=True, timeout=300).stdout
    found = Counter(tuple(json.loads(line).values()) for line in printed.splitlines())
    parted = sum(count for (rest, grpc), count in found.items() if rest != grpc)
    shown = ", ".join(f"{count} on {rest}" for (rest, grpc), count in sorted(found.items()) if rest == grpc)
    print(f"{sum(found.values())} users by REST and gRPC: {shown}; {parted} on two versions")
    return 1 if parted or len(found) != 2 else 0


if __name__ == "__main__":
    sys.exit(main())

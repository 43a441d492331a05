"""Sessions of the official MCP SDK, and objects that OpenAI's SDK stores, through a real Envoy: ``make test-clients``.

Argument: the Python of an environment with the SDKs of ``requirements.txt``. Two versions of two servers each keep what
they made in their own memory. Of two processors one stops after the first round and is there anew after the second,
when the other one stops.
"""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path

from extproc.gateway.envoy_process import Envoy
from extproc.gateway.free_ports import free_addresses
from extproc.policy.snapshot import Policy, Snapshot, Sticky, Version
from extproc.render.envoy.bootstrap import EnvoyOptions, bootstrap
from extproc.render.envoy.envoy_options import PROCESSOR
from tests.envoy.conftest import Handler, ModelServer, Processor
from tests.waiting import until

HERE = Path(__file__).parent
ROUNDS = 3


class Store:
    """The answers of a server that keeps OpenAI's objects, and says its name in each; 404 for what it has not made."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.kept: dict[str, dict[str, object]] = {}

    def answer(self, request: Handler) -> None:
        kind, _, wanted = request.path.removeprefix("/v1/").partition("/")
        if request.command == "POST":
            wanted = f"{kind}-{self.name}-{len(self.kept)}"
            self.kept[wanted] = {"id": wanted, "server": self.name, "output": []}
        found = self.kept.get(wanted)
        text = json.dumps(found or {"error": {"message": "unknown id"}}).encode()
        request.send_response(200 if found else 404)
        request.send_header("content-type", "application/json")
        request.send_header("content-length", str(len(text)))
        request.end_headers()
        request.wfile.write(text)


class Gateway:
    """An Envoy for two versions of two servers each, with two processors."""

    def __init__(self, stack: ExitStack, servers: list[str], sticky: Sticky | None = None) -> None:
        versions = Version("v1", 1, tuple(servers[:2])), Version("v2", 1, tuple(servers[2:]))
        self._snapshot = Snapshot((Policy("kept", versions=versions, sticky=sticky),), session_keys=(b"k",))
        self._stack = stack
        self._processors = [self._start(), self._start()]
        options = EnvoyOptions(
            listen="127.0.0.1:0",
            admin="127.0.0.1:0",
            processors=tuple(one.address for one in self._processors),
            access_log="",
        )
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        self._envoy = stack.enter_context(Envoy(bootstrap(self._snapshot, options), Path(folder)))
        self._envoy.wait_ready()
        self.url = f"http://{self._envoy.listen_address}"

    def change_processors(self) -> None:
        """One of two processors stops; or it is there anew, and the other one stops."""
        first, second = self._processors
        if self._healthy(2):
            first.stop()
            return
        self._processors = [second, self._start(first.address)]
        until(lambda: self._healthy(2))
        second.stop()

    def _healthy(self, count: int) -> bool:
        found = self._envoy.ask("/stats?filter=membership_healthy")[1]
        return f"cluster.{PROCESSOR}.membership_healthy: {count}".encode() in found

    def _start(self, address: str = "127.0.0.1:0") -> Processor:
        started = Processor(self._snapshot, address)
        self._stack.callback(started.stop)
        return started


def _listens(address: str) -> bool:
    host, _, port = address.rpartition(":")
    with socket.socket() as client:
        return client.connect_ex((host, int(port))) == 0


def main() -> int:
    """Prints how many stayed where they belong; returns the exit status."""
    python = sys.argv[1]
    with ExitStack() as stack:
        addresses = free_addresses(4)
        for number, address in enumerate(addresses):
            command = [python, str(HERE / "mcp_server.py"), f"mcp-{number}", address.rpartition(":")[2]]
            child = subprocess.Popen(command)
            stack.callback(child.wait)
            stack.callback(child.terminate)
        until(lambda: all(map(_listens, addresses)), seconds=60)
        stores = [stack.enter_context(ModelServer(f"store-{number}")) for number in range(4)]
        for number, server in enumerate(stores):
            server.then = Store(f"store-{number}").answer
        tools = Gateway(stack, addresses)
        models = Gateway(stack, [server.address for server in stores], Sticky(header="x-user-id"))
        command = [python, str(HERE / "follow_up_calls.py"), tools.url, models.url]
        calls = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        stack.callback(calls.wait)
        stack.callback(calls.kill)
        assert calls.stdin is not None
        assert calls.stdout is not None
        homes: dict[str, set[str]] = {}
        made = rounds = 0
        for line in calls.stdout:
            if found := json.loads(line):
                homes.setdefault(found["who"], set()).update(found["servers"])
                made += len(found["servers"])
                continue
            rounds += 1
            if rounds < ROUNDS:
                tools.change_processors()
                models.change_processors()
            calls.stdin.write("\n")
            calls.stdin.flush()
    moved = [f"{who} was answered by {sorted(servers)}" for who, servers in homes.items() if len(servers) > 1]
    sessions = sum(who.startswith("session") for who in homes)
    users = len(homes) - sessions
    print(*moved, f"{sessions} MCP sessions, {users} users, {made} calls: {len(moved)} did not stay", sep="\n")
    return 1 if moved or rounds < ROUNDS or len(set.union(*homes.values())) < 4 else 0


if __name__ == "__main__":
    sys.exit(main())

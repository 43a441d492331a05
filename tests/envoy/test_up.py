"""`extproc up` as a user runs it."""

from __future__ import annotations

import http.client
import json
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

from extproc.cli.main import main
from tests.ports import free_port
from tests.waiting import until

from .conftest import Handler, ModelServer, say

pytestmark = pytest.mark.envoy

Servers = Callable[..., list[ModelServer]]

POLICY = """\
apiVersion: ai.istio.io/v1alpha1
kind: ModelInferencePolicy
metadata: {{name: chat}}
spec:
  models: [llama]
  versions:
"""


def policy(*shares: tuple[ModelServer, int]) -> str:
    lines = [
        f'  - {{name: v{n}, weight: {weight}, endpoints: ["{server.address}"]}}\n'
        for n, (server, weight) in enumerate(shares, 1)
    ]
    return POLICY.format() + "".join(lines)


class Up:
    """A running `extproc up`."""

    def __init__(self, file: Path, scratch: str, *arguments: str) -> None:
        """``scratch``: a folder with a short path, since paths of unix sockets have at most 107 characters."""
        self.scratch = Path(scratch)
        self.port, self.admin = free_port(), free_port()
        self.errors = (file.parent / "stderr.txt").open("w+")
        addresses = ("--listen", f"127.0.0.1:{self.port}", "--admin", f"127.0.0.1:{self.admin}")
        self.process = subprocess.Popen(
            [sys.executable, "-m", "extproc", "up", "-f", str(file), *addresses, *arguments],
            stdout=subprocess.DEVNULL,
            stderr=self.errors,
            env=os.environ | {"TMPDIR": scratch},
        )

    def said(self) -> str:
        return Path(self.errors.name).read_text()

    def has_said(self, words: str) -> bool:
        return words in self.said()

    def ready(self) -> bool:
        assert self.process.poll() is None, self.said()
        return "an AI gateway on" in self.said()

    def ask(self) -> tuple[str, str]:
        """Version and body of an answer."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        try:
            connection.request("POST", "/v1/chat/completions", '{"model": "llama", "messages": []}')
            response = connection.getresponse()
            return response.headers.get("x-model-version", ""), response.read().decode()
        finally:
            connection.close()

    def metrics(self) -> str:
        connection = http.client.HTTPConnection("127.0.0.1", self.admin, timeout=5)
        try:
            connection.request("GET", "/metrics")
            return connection.getresponse().read().decode()
        finally:
            connection.close()

    def children(self) -> dict[str, int]:
        """Process ids of the processor and of Envoy."""
        pid = self.process.pid
        pids = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        commands = {pid: Path(f"/proc/{pid}/cmdline").read_text() for pid in pids}
        return {"processor" if "\0serve\0" in line else "Envoy": int(pid) for pid, line in commands.items()}


@pytest.fixture
def up(tmp_path: Path) -> Iterator[Callable[..., Up]]:
    with ExitStack() as stack:

        def start(text: str, *arguments: str) -> Up:
            file = tmp_path / "policy.yaml"
            file.write_text(text)
            started = Up(file, stack.enter_context(TemporaryDirectory(prefix="up-")), *arguments)
            stack.callback(started.errors.close)
            stack.callback(started.process.wait)
            stack.callback(started.process.kill)
            return started

        yield start


def gone(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] in "ZX"
    except OSError:
        return True


def test_a_gateway_that_follows_its_policy_and_leaves_nothing(
    up: Callable[..., Up], servers: Servers, tmp_path: Path
) -> None:
    one, two = servers("one", "two")
    running = up(policy((one, 1)))
    until(running.ready, 30)
    assert running.ask() == ("v1", "one")
    counted = re.compile(r'inference_requests_total\{.*model="llama".*version="v1".*\} 1')
    until(lambda: counted.search(running.metrics()))
    (tmp_path / "policy.yaml").write_text(policy((one, 0), (two, 1)))
    until(lambda: running.ask() == ("v2", "two"))
    children = running.children()
    assert children.keys() == {"processor", "Envoy"}
    running.process.send_signal(signal.SIGTERM)
    assert running.process.wait(20) == 0, running.said()
    assert all(map(gone, children.values()))
    assert list(running.scratch.iterdir()) == []


def test_the_doctor_compares_its_envoy_with_policies(up: Callable[..., Up], servers: Servers, tmp_path: Path) -> None:
    one, two = servers("one", "two")
    running = up(policy((one, 1)))
    until(running.ready, 30)
    found = re.search(r"  envoy    (http://[0-9.:]+)/\n", running.said())
    assert found, running.said()

    def diagnosed(file: Path) -> int:
        return main(["doctor", "--envoy-admin", found[1], "-f", str(file)])

    other, followed = tmp_path / "other.yaml", tmp_path / "policy.yaml"
    other.write_text(policy((one, 1), (two, 1)))
    assert (diagnosed(followed), diagnosed(other)) == (0, 1)
    followed.write_text(other.read_text())
    until(lambda: "and the routes with it" in running.said())
    assert diagnosed(followed) == 0
    assert 'extproc_rendering_differs{part="versions"} 1' not in running.metrics()


def test_how_envoy_is_set_up_can_be_chosen(up: Callable[..., Up], servers: Servers, tmp_path: Path) -> None:
    (one,) = servers("one")
    log = tmp_path / "access.json"
    running = up(policy((one, 1)), "--body", "buffered", "--fail-closed", "--access-log", str(log))
    until(running.ready, 30)
    assert running.ask() == ("v1", "one")
    until(lambda: log.exists() and log.read_text())
    assert json.loads(log.read_text())["version"] == "v1"
    config = json.loads((next(running.scratch.iterdir()) / "listeners.json").read_text())
    manager = config["resources"][0]["filter_chains"][0]["filters"][0]["typed_config"]
    route = next(f["typed_config"] for f in manager["http_filters"] if f["name"] == "aimesh.route")
    assert (route["failure_mode_allow"], route["processing_mode"]["request_body_mode"]) == (False, "BUFFERED")


def test_a_bad_edit_changes_nothing(up: Callable[..., Up], servers: Servers, tmp_path: Path) -> None:
    (one,) = servers("one")
    running = up(policy((one, 1)))
    until(running.ready, 30)
    (tmp_path / "policy.yaml").write_text(POLICY.format() + "  - {nane: v1}\n")
    running.process.send_signal(signal.SIGHUP)
    until(lambda: "policy not loaded" in running.said())
    assert running.ask() == ("v1", "one")


def test_a_bad_policy_is_listed_and_nothing_starts(up: Callable[..., Up]) -> None:
    running = up(POLICY.format() + "  - {nane: v1}\n")
    assert running.process.wait(20) == 2
    assert "policy.yaml:7:" in running.said()
    assert "nane" in running.said()


def test_a_taken_port_is_named(up: Callable[..., Up], servers: Servers) -> None:
    (one,) = servers("one")
    running = up(policy((one, 1)), "--listen", one.address)
    assert running.process.wait(20) == 1
    assert f"cannot listen on {one.address} (--listen): Address already in use; stop" in running.said()


def test_it_ends_with_envoy(up: Callable[..., Up], servers: Servers) -> None:
    (one,) = servers("one")
    running = up(policy((one, 1)))
    until(running.ready, 30)
    children = running.children()
    os.kill(children["Envoy"], signal.SIGKILL)
    assert running.process.wait(20) == 1
    assert "Envoy ended with signal SIGKILL" in running.said()
    assert all(map(gone, children.values()))


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_processor_that_dies_is_started_again(workers: str, up: Callable[..., Up], servers: Servers) -> None:
    """Again and again, and each time later; requests are routed once it is back."""
    (one,) = servers("one")
    running = up(policy((one, 1)), "--workers", workers)
    until(running.ready, 30)
    envoy = running.children()["Envoy"]
    for waits in ("0.5 s", "1 s"):
        os.kill(running.children()["processor"], signal.SIGKILL)
        told = f"the processor ended with signal SIGKILL; starting it again in {waits}"
        until(partial(running.has_said, told))
        until(lambda: running.ask() == ("v1", "one"), 30)
    assert running.children()["Envoy"] == envoy
    assert running.metrics()
    running.process.send_signal(signal.SIGTERM)
    assert running.process.wait(20) == 0, running.said()


def test_a_processor_that_is_dead_is_no_reason_to_stay(up: Callable[..., Up], servers: Servers, tmp_path: Path) -> None:
    """It can't start, as its policy is bad by now: that is told, requests pass on, and signals count."""
    (one,) = servers("one")
    running = up(policy((one, 1)))
    until(running.ready, 30)
    (tmp_path / "policy.yaml").write_text(POLICY.format() + "  - {nane: v1}\n")
    os.kill(running.children()["processor"], signal.SIGKILL)
    until(lambda: "the processor ended with exit status 2; starting it again in 1 s" in running.said(), 30)
    assert running.ask() == ("", "one")
    running.process.send_signal(signal.SIGTERM)
    assert running.process.wait(20) == 0, running.said()


class Slow:
    """A model server's answer that comes when it is let go, and a client that waits for it."""

    def __init__(self, server: ModelServer, running: Up) -> None:
        self.going, self.released = threading.Event(), threading.Event()
        self.answers: list[tuple[str, str]] = []
        server.then = self._answer
        self.client = threading.Thread(target=self._ask, args=(running,))
        self.client.start()
        assert self.going.wait(10)

    def _answer(self, request: Handler) -> None:
        self.going.set()
        self.released.wait(20)
        say(b"done")(request)

    def _ask(self, running: Up) -> None:
        with suppress(OSError, http.client.HTTPException):
            self.answers.append(running.ask())

    def end(self) -> None:
        self.released.set()
        self.client.join(10)
        assert not self.client.is_alive()


def test_open_requests_finish_before_it_ends(up: Callable[..., Up], servers: Servers) -> None:
    (one,) = servers("one")
    running = up(policy((one, 1)))
    until(running.ready, 30)
    slow = Slow(one, running)
    running.process.send_signal(signal.SIGINT)
    until(lambda: "no new requests" in running.said())
    slow.end()
    assert running.process.wait(20) == 0
    assert slow.answers == [("v1", "done")]


def test_a_second_signal_ends_it_at_once(up: Callable[..., Up], servers: Servers) -> None:
    (one,) = servers("one")
    running = up(policy((one, 1)))
    until(running.ready, 30)
    slow = Slow(one, running)
    children = running.children()
    running.process.send_signal(signal.SIGINT)
    until(lambda: "no new requests" in running.said())
    running.process.send_signal(signal.SIGINT)
    assert running.process.wait(5) == 130
    slow.end()
    assert all(map(gone, children.values()))
    assert list(running.scratch.iterdir()) == []


def test_nothing_survives_it_even_if_it_is_killed(up: Callable[..., Up], servers: Servers) -> None:
    (one,) = servers("one")
    running = up(policy((one, 1)))
    until(running.ready, 30)
    children: dict[str, Any] = running.children()
    running.process.kill()
    until(lambda: all(map(gone, children.values())))

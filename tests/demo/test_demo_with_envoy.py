"""The whole demo with the real Envoy: what it says, and that nothing of it stays, however it ends."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO

import pytest

from tests.unit.demo.scene import TARGETS
from tests.waiting import until

pytestmark = pytest.mark.envoy

MARK = "EXTPROC_DEMO_TEST"
FEW = 60
TOO_MANY = 100_000
"""Traffic that nobody waits for."""


class Run:
    """A demo in a process group of its own, as a shell starts it; every process that it starts inherits a mark."""

    def __init__(self, directory: Path, *arguments: str, **env: str) -> None:
        self.directory = directory
        self._mark = f"{MARK}={uuid.uuid4()}".encode()
        name, _, value = self._mark.decode().partition("=")
        self.process = subprocess.Popen(
            [sys.executable, "-m", "extproc", "demo", *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
            env={**os.environ, "TMPDIR": str(directory), name: value, **env},
        )

    def ended(self) -> tuple[int, str, str]:
        """Exit status, stdout, stderr."""
        out, err = self.process.communicate(timeout=60)
        return self.process.returncode, out.decode(), err.decode()

    def wait_for(self, word: str) -> str:
        """The line that begins so, once it was said on stderr; what it says after that is left unread."""
        stream: IO[bytes] | None = self.process.stderr
        assert stream is not None
        for line in iter(stream.readline, b""):
            if line.decode().startswith(word):
                return line.decode()
        pytest.fail(f"it ended before it said {word!r}")

    def interrupt_group(self, number: signal.Signals) -> None:
        """As a terminal does it."""
        os.killpg(self.process.pid, number)

    def left(self) -> list[str]:
        """Every process of this run that still exists."""
        found = []
        for process in Path("/proc").iterdir():
            try:
                if process.name.isdecimal() and self._mark in (process / "environ").read_bytes().split(b"\0"):
                    found.append((process / "cmdline").read_bytes().replace(b"\0", b" ").decode())
            except OSError:
                continue  # ended in the meantime, or none of ours
        return found

    def assert_nothing_left(self) -> None:
        assert self.left() == []
        assert list(self.directory.iterdir()) == []


Start = Callable[..., Run]


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Start]:
    started: list[Run] = []

    def start(*arguments: str, **env: str) -> Run:
        started.append(Run(tmp_path, *arguments, **env))
        return started[-1]

    yield start
    for one in started:
        one.process.kill()
        one.process.communicate()


def test_all_is_well_and_json_is_all_there_is_on_stdout(run: Start) -> None:
    demo = run("--json", "--requests", str(FEW), "--seed", "7")
    until(demo.left)  # the search for processes finds some while there are some
    status, out, err = demo.ended()
    assert out, err
    report = json.loads(out)
    assert [c for c in report["checks"] if not c["ok"]] == []
    assert report["ok"] is True
    assert report["seed"] == 7
    assert report["requests"] >= FEW
    assert [(r["model"], r["version"], r["gpu_pool"]) for r in report["rows"]] == [
        (a.model, a.version, a.pool) for a in TARGETS
    ]
    assert status == 0
    assert "seed 7" in err
    demo.assert_nothing_left()


def test_for_people_a_table_and_every_check(run: Start) -> None:
    demo = run("--requests", str(FEW))
    status, out, err = demo.ended()
    assert status == 0, out + err
    assert "checks hold (" in out
    assert "\x1b" not in out + err
    assert len([line for line in err.partition("Now try:")[2].splitlines() if line.startswith("  ")]) == 3
    for target in TARGETS:
        assert any(line.startswith(target.model) and target.pool in line for line in out.splitlines())


@pytest.mark.parametrize("said", ["Gateway", "Traffic"])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_to_the_group_ends_all_of_it(run: Start, said: str, number: signal.Signals) -> None:
    demo = run("--requests", str(TOO_MANY))
    demo.wait_for(said)
    demo.interrupt_group(number)
    status, out, err = demo.ended()
    assert status == 128 + number, err
    assert out == ""
    assert "Traceback" not in err
    demo.assert_nothing_left()


def test_kept_it_runs_on_until_a_signal(run: Start) -> None:
    demo = run("--requests", str(FEW), "--keep")
    demo.wait_for("  page")
    assert demo.left(), "the gateway still runs"
    demo.interrupt_group(signal.SIGINT)
    status, out, err = demo.ended()
    assert status == 0, out + err
    assert "checks hold (" in out
    demo.assert_nothing_left()


def test_impatience_leaves_nothing_either(run: Start) -> None:
    demo = run("--requests", str(TOO_MANY))
    demo.wait_for("Traffic")
    while demo.process.poll() is None:
        demo.interrupt_group(signal.SIGINT)
        time.sleep(0.01)
    status, _, err = demo.ended()
    assert status in (130, -signal.SIGINT), err
    demo.assert_nothing_left()


def test_killed_it_takes_the_gateway_with_it(run: Start) -> None:
    demo = run("--requests", str(TOO_MANY))
    demo.wait_for("Traffic")
    demo.process.kill()
    demo.process.wait(10)
    deadline = time.monotonic() + 10
    while demo.left() and time.monotonic() < deadline:
        time.sleep(0.02)
    assert demo.left() == []


def test_a_gateway_that_can_not_start_is_said_and_fails(run: Start) -> None:
    demo = run("--requests", str(FEW), EXTPROC_ENVOY="/nowhere/envoy")
    status, out, err = demo.ended()
    assert status == 1
    assert out == ""
    assert "/nowhere/envoy" in err
    assert "Traceback" not in err
    demo.assert_nothing_left()

"""A worker over the lives of its processes: started, reaped, started again, and what it counted stays."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import pytest

from extproc.admin.server import AdminContent, AdminServer
from extproc.demo.pipeline.collector import export_request
from extproc.errors import SetupError
from extproc.serve import worker as module
from extproc.serve.options import ServeOptions
from extproc.serve.worker import Worker
from extproc.telemetry.metrics import Metrics
from extproc.telemetry.recent_traffic_by_caller import RecentTraffic
from extproc.telemetry.spans import Span
from extproc.telemetry.tap import OpenTaps


class Process:
    """Stands for a ChildProcess: a test says how it ends."""

    started: ClassVar[list[Process]] = []
    refused = ""

    def __init__(self, name: str, command: list[str], *, echo: bool, inherits: tuple[int, ...]) -> None:
        if self.refused:
            raise SetupError(self.refused)
        self.name, self.command, self.echo, self.inherits = name, command, echo, inherits
        self.process = SimpleNamespace(pid=1000 + len(self.started), returncode=None)
        self.signals: list[signal.Signals] = []
        self.terminated: list[float] = []
        self.started.append(self)

    @property
    def alive(self) -> bool:
        return self.process.returncode is None

    def send_signal(self, number: signal.Signals) -> None:
        self.signals.append(number)

    def terminate(self, timeout: float) -> None:
        self.terminated.append(timeout)


class Clock:
    now = 100.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    monkeypatch.setattr(Process, "started", [])
    monkeypatch.setattr(Process, "refused", "")
    monkeypatch.setattr(module, "ChildProcess", Process)
    monkeypatch.setattr(module, "time", clock := Clock())
    return clock


@pytest.fixture
def worker(clock: Clock, tmp_path: Path) -> Worker:
    options = ServeOptions(policies=(Path("p.yaml"),), listen=("127.0.0.1:50051",), workers=4, board=7)
    return Worker(1, options, tmp_path)


class Admin:
    """The admin port of the worker's process."""

    def __init__(self, worker: Worker) -> None:
        self.metrics, self.reason = Metrics(), ""
        self.config: dict[str, Any] = {"generation": 7}
        content = AdminContent(
            lambda: self.metrics,
            lambda: self.reason,
            lambda: self.config,
            RecentTraffic().report,
            OpenTaps().open,
            raw_spans=lambda: self.spans,
        )
        self.spans = b""
        self.server = AdminServer(worker.options.admin, content)
        self.server.start()


@pytest.fixture
def admin(worker: Worker) -> Iterator[Admin]:
    admin = Admin(worker)
    yield admin
    admin.server.stop()


def counted(worker: Worker) -> tuple[float, int]:
    """Errors and open streams."""
    total = Metrics()
    worker.add_to(total)
    return sum(total._counters["extproc_errors"].values()), total.streams


def test_it_runs_as_one_process_on_an_address_of_its_own(worker: Worker, tmp_path: Path) -> None:
    assert (worker.name, worker.alive, worker.exit_status, worker.state()) == ("worker 2", False, None, None)
    worker.start()
    (process,) = Process.started
    assert process.echo
    assert process.name == "worker 2"
    assert process.command[1:4] == ["-m", "extproc", "serve"]
    (at,) = [n for n, word in enumerate(process.command) if word == "--supervised"]
    said = process.command[4:at] + process.command[at + 1 :]
    words = dict(zip(said[::2], said[1::2], strict=True))
    assert words["--listen"] == "127.0.0.1:50052"
    assert words["--admin"] == f"unix://{tmp_path}/2.sock"
    assert words["--workers"] == "1"
    assert process.inherits == (7,) == (int(words["--board"]),)
    assert words["--board-row"] == "1"
    assert worker.alive
    assert worker.describe() == {"listen": ["127.0.0.1:50052"], "ready": False, "pid": 1000, "restarts": 0}


def test_it_is_ready_once_its_process_says_so(worker: Worker, admin: Admin) -> None:
    worker.start()
    ready = []
    for admin.reason in ("starting", "", "draining"):
        worker.poll()
        ready.append(worker.ready)
    assert ready == [False, True, False]


def test_what_its_process_says(worker: Worker, admin: Admin) -> None:
    assert worker.config() == {"generation": 7}
    report = worker.recent()
    assert report is not None
    assert report.slices == []


@pytest.mark.usefixtures("clock")
def test_without_an_answer_there_is_nothing(worker: Worker) -> None:
    worker.start()
    worker.poll()
    assert (worker.ready, worker.config(), worker.recent(), worker.state()) == (False, None, None, None)


def test_counts_of_processes_that_ended_stay_and_their_streams_do_not(worker: Worker, admin: Admin) -> None:
    worker.start()
    admin.metrics.count_error("x")
    admin.metrics.streams = 3
    worker.poll()
    assert counted(worker) == (1, 3)
    Process.started[0].process.returncode = -signal.SIGKILL
    worker.poll()
    assert counted(worker) == (1, 0)
    assert (worker.alive, worker.ready, worker.exit_status) == (False, False, None)
    admin.metrics = Metrics()
    worker.start()
    admin.metrics.count_error("x")
    worker.poll()
    assert counted(worker) == (2, 0)


def test_one_that_does_not_answer_for_a_while_keeps_its_counts(worker: Worker, admin: Admin) -> None:
    worker.start()
    admin.metrics.count_error("x")
    worker.poll()
    admin.server.stop()
    assert counted(worker) == (1, 0)
    admin.server = Admin(worker).server


def test_it_is_restarted_when_that_is_due(worker: Worker, clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    worker.start()
    Process.started[0].process.returncode = 1
    assert worker.exit_status == 1
    worker.poll()
    assert caplog.messages == ["worker 2 (127.0.0.1:50052) ended with exit status 1; starting it again in 0.5 s"]
    clock.now += 0.4
    worker.poll()
    assert (len(Process.started), worker.restarts) == (1, 0)
    clock.now += 0.2
    worker.poll()
    assert (len(Process.started), worker.restarts, worker.alive) == (2, 1, True)


def test_where_it_can_not_be_started_it_is_tried_again(
    worker: Worker, clock: Clock, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker.start()
    Process.started[0].process.returncode = 0
    worker.poll()
    monkeypatch.setattr(Process, "refused", "no memory")
    worker.poll()
    assert caplog.messages[-1] == "worker 2 (127.0.0.1:50052): no memory; starting it again in 0.5 s"
    assert (worker.alive, worker.restarts) == (False, 0)
    monkeypatch.setattr(Process, "refused", "")
    clock.now += 0.5
    worker.poll()
    assert (worker.alive, worker.restarts) == (True, 1)


def test_signals_are_passed_on_where_there_is_a_process(worker: Worker) -> None:
    worker.send_signal(signal.SIGHUP)
    worker.terminate(1.0)
    worker.start()
    worker.send_signal(signal.SIGHUP)
    worker.terminate(2.0)
    (process,) = Process.started
    assert (process.signals, process.terminated) == ([signal.SIGHUP], [2.0])


def test_its_spans_are_those_that_it_has_received(worker: Worker) -> None:
    assert worker.spans() == [], "there is no process yet"
    admin = Admin(worker)
    try:
        worker.start()
        span = Span("ab" * 16, "01" * 8, "", "llm", "ingress", "server", 1, 2)
        admin.spans = export_request([span])
        assert worker.spans() == [span]
        admin.spans = b"\xff\xff"
        assert worker.spans() == []
    finally:
        admin.server.stop()

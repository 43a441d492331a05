"""The supervisor of workers: when it is ready, what it sums up, which signals do what, and its exit status."""

from __future__ import annotations

import logging
import os
import signal
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import msgspec
import pytest

from extproc.errors import PolicyProblems, SetupError
from extproc.serve import supervisor as module
from extproc.serve.options import ServeOptions
from extproc.serve.supervisor import Supervisor
from extproc.telemetry.measured_versions import Measured, ProcessEvidence, decode_report
from extproc.telemetry.metrics import Metrics
from tests.grpc.served import write


class Worker:
    """Stands for a worker: ready at its second poll; ends at SIGTERM, unless a test wants otherwise."""

    every: ClassVar[list[Worker]] = []
    ends_with: int | None = 0
    unready = ""
    on_poll: Callable[[Worker], object] = staticmethod(lambda _: None)

    def __init__(self, number: int, _: ServeOptions, directory: Path) -> None:
        self.name, self.directory = f"worker {number + 1}", directory
        self.replica = SimpleNamespace(name=self.name)
        self.ready, self.restarts, self.polls = False, number, 0
        self.alive, self.exit_status = False, None
        self.signals: list[int] = []
        self.every.append(self)

    def start(self) -> None:
        self.alive = True

    def poll(self) -> None:
        self.polls += 1
        self.ready = self.polls >= 2
        self.on_poll(self)

    def send_signal(self, number: int) -> None:
        self.signals.append(number)
        if number == signal.SIGTERM and self.ends_with is not None:
            self.alive, self.exit_status = False, self.ends_with  # type: ignore[assignment]

    def terminate(self, _: float) -> None:
        self.alive = False

    def add_to(self, total: Metrics) -> None:
        total.count_error("x")

    def recent(self) -> None:
        return None

    def spans(self) -> list[str]:
        return [self.name]

    def config(self) -> dict[str, Any]:
        return {"from": self.name}

    def describe(self) -> dict[str, Any]:
        return {"name": self.name}


@pytest.fixture
def policy(tmp_path: Path) -> Path:
    path = tmp_path / "policy.yaml"
    write(path, "90")
    return path


@pytest.fixture
def options(policy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ServeOptions]:
    monkeypatch.setattr(Worker, "every", [])
    monkeypatch.setattr(module, "Worker", Worker)
    monkeypatch.setattr(module, "_POLL_INTERVAL", 0.001)
    monkeypatch.setattr(module, "_FAST_POLL_INTERVAL", 0.001)
    yield ServeOptions(policies=(policy,), listen=(f"unix://{tmp_path}/p",), admin="127.0.0.1:0", workers=3, drain=0)
    for worker in Worker.every:
        assert not worker.alive


def at_poll(count: int, *actions: Callable[[], object]) -> Callable[[Worker], None]:
    """Does ``actions`` when the first worker is polled for the ``count``-th time."""

    def on_poll(worker: Worker) -> None:
        if worker is Worker.every[0] and worker.polls == count:
            for action in actions:
                action()

    return on_poll


def release(supervisor: Supervisor) -> None:
    """What ``run`` does at its end."""
    supervisor._admin._server.server_close()
    supervisor._directory.remove()


def stop() -> None:
    signal.raise_signal(signal.SIGTERM)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_serves_until_a_signal_and_drains(
    number: signal.Signals, options: ServeOptions, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    seen: list[str] = []
    supervisor = Supervisor(options)
    assert supervisor._unready() == "starting"
    monkeypatch.setattr(
        Worker,
        "on_poll",
        staticmethod(at_poll(3, lambda: seen.append(supervisor._unready()), lambda: signal.raise_signal(number))),
    )
    assert supervisor.run() == 0
    assert seen == [""]
    assert supervisor._unready() == "draining"
    assert [worker.signals for worker in Worker.every] == [[signal.SIGTERM]] * 3
    addresses = ", ".join(f"{options.listen[0]}-{n}" for n in (1, 2, 3))
    assert caplog.messages[0].startswith(f"3 workers serve on {addresses}; admin on port ")
    assert caplog.messages[-1] == "drained, bye"
    assert not Worker.every[0].directory.exists()


def test_a_signal_during_the_start_drains_as_well(options: ServeOptions, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Worker, "on_poll", staticmethod(at_poll(1, stop)))
    assert Supervisor(options).run() == 0
    assert Worker.every[0].polls == 1


def test_a_worker_that_ends_at_the_start_ends_it(options: ServeOptions, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> None:
        Worker.every[1].alive, Worker.every[1].exit_status = False, 1  # type: ignore[assignment]

    monkeypatch.setattr(Worker, "on_poll", staticmethod(at_poll(1, fail)))
    with pytest.raises(SetupError, match=r"worker 2 could not start \(exit status 1\)"):
        Supervisor(options).run()


def test_a_worker_that_fails_while_draining_is_exit_status_1(
    options: ServeOptions, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(Worker, "ends_with", 3)
    monkeypatch.setattr(Worker, "on_poll", staticmethod(at_poll(3, stop)))
    assert Supervisor(options).run() == 1
    assert caplog.messages[-1] == "worker 1, worker 2, worker 3 did not end well"


def test_sighup_is_passed_on_to_all(options: ServeOptions, monkeypatch: pytest.MonkeyPatch) -> None:
    hup = at_poll(3, lambda: signal.raise_signal(signal.SIGHUP))
    term = at_poll(4, stop)
    monkeypatch.setattr(Worker, "on_poll", staticmethod(lambda worker: (hup(worker), term(worker))))
    assert Supervisor(options).run() == 0
    assert [worker.signals for worker in Worker.every] == [[signal.SIGHUP, signal.SIGTERM]] * 3


def test_a_second_signal_leaves_at_once(options: ServeOptions, monkeypatch: pytest.MonkeyPatch) -> None:
    class Left(Exception):  # noqa: N818
        pass

    def leave(status: int) -> None:
        raise Left(status)

    monkeypatch.setattr(os, "_exit", leave)
    monkeypatch.setattr(Worker, "ends_with", None)
    monkeypatch.setattr(Worker, "on_poll", staticmethod(at_poll(3, stop, lambda: signal.raise_signal(signal.SIGINT))))
    with pytest.raises(Left, match=str(128 + signal.SIGINT)):
        Supervisor(options).run()
    assert [worker.signals[-1] for worker in Worker.every] == [signal.SIGKILL] * 3


def test_mistakes_are_found_before_any_worker_starts(options: ServeOptions, policy: Path) -> None:
    write(policy, "-3")
    with pytest.raises(PolicyProblems):
        Supervisor(options)
    assert Worker.every == []


def test_a_taken_admin_port_is_named(options: ServeOptions) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(SetupError, match=rf"cannot listen on {address} \(--admin\)"):
            Supervisor(msgspec.structs.replace(options, admin=address))


def test_what_the_admin_port_shows_is_the_sum(options: ServeOptions) -> None:
    supervisor = Supervisor(options)
    first, second, third = Worker.every
    first.ready = second.ready = True
    total = supervisor._total_metrics()
    assert total._counters["extproc_errors"] == {("x",): 3}
    assert (total.workers, total.worker_restarts) == (2, 0 + 1 + 2)
    first.ready = False
    names = [{"name": f"worker {number}"} for number in (1, 2, 3)]
    assert supervisor._config() == {"from": "worker 2", "workers": names}
    second.ready = False
    assert supervisor._config() == {"workers": names}
    assert supervisor._recent().slices == []
    assert [*map(str, supervisor._admin.content.spans())] == ["worker 1", "worker 2", "worker 3"]
    release(supervisor)
    assert not third.ready


def test_half_of_the_workers_are_enough(options: ServeOptions) -> None:
    supervisor = Supervisor(options)
    supervisor._state = ""
    first, second, _ = Worker.every
    first.ready = True
    assert supervisor._unready() == "1 of 3 workers are ready"
    second.ready = True
    assert supervisor._unready() == ""
    release(supervisor)


def test_it_drives_rollouts_by_what_its_workers_count_and_says_which_is_silent(
    options: ServeOptions, monkeypatch: pytest.MonkeyPatch
) -> None:
    driven: list[tuple[Any, ...]] = []
    monkeypatch.setattr(module, "RolloutDriver", lambda *arguments: driven.append(arguments))
    supervisor = Supervisor(options)
    ((paths, snapshot, measure, on_move),) = driven
    assert paths == options.policies
    assert snapshot().policies
    for worker in Worker.every:
        monkeypatch.setattr(
            worker, "evidence", lambda name=worker.name: Measured([ProcessEvidence(name)]), raising=False
        )
    assert [process.process for process in measure().processes] == ["worker 1", "worker 2", "worker 3"]
    assert decode_report(supervisor._admin.content.evidence()) == measure()
    monkeypatch.setattr(Worker.every[1], "evidence", lambda: None)
    silent = Measured([ProcessEvidence("worker 1"), ProcessEvidence("worker 3")], "worker 2 can't be heard")
    assert measure() == decode_report(supervisor._admin.content.evidence()) == silent
    on_move()
    assert [worker.signals for worker in Worker.every] == [[signal.SIGHUP]] * 3
    release(supervisor)


def test_in_a_cluster_nobody_drives(options: ServeOptions, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "RolloutDriver", None)
    release(Supervisor(msgspec.structs.replace(options, kubernetes=True)))

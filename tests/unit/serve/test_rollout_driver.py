"""The driver of rollouts: what it measures, what it waits for, what it writes, and how it is killed."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from threading import Event
from typing import Any

import msgspec
import pytest

from extproc.fetch import prometheus_query
from extproc.fetch.prometheus_query import UnusableAnswerError
from extproc.policy.snapshot import Snapshot
from extproc.policyfile import loader
from extproc.policyfile.rollout_files import RolloutFiles
from extproc.rollout import guards, steps
from extproc.rollout.evidence import StepEvidence, VersionEvidence
from extproc.rollout.steps import Verdict
from extproc.serve.rollout_driver import RolloutDriver
from extproc.telemetry.measured_versions import Measured, ProcessEvidence
from tests.house.tree import ROOT
from tests.policy_documents import policy
from tests.waiting import until

PHASES = {"Progressing", "Paused", "RollingBack", "Failed", "Completed"}


def spec(guards: str = "{metric: errors, max: 1%}", **more: str) -> str:
    rest = "".join(f", {name}: {value}" for name, value in more.items())
    return policy(
        f"versions: [{{name: v1, weight: 3}}, {{name: v2, weight: 0}}]\n"
        f"rollout: {{to: v2, interval: 3s, minRequests: 50, guards: [{guards}]{rest}}}"
    )


class Machine:
    """Processes that count what they are told, a clock that is told, and a driver."""

    def __init__(self, folder: Path, text: str) -> None:
        self.file = folder / "policy.yaml"
        self.file.write_text(text)
        self.files = RolloutFiles([self.file])
        self.now = 1000.0
        self.moved = 0
        self.processes = {"a": VersionEvidence(), "b": VersionEvidence()}
        self.unheard = ""
        """One of them, if any."""
        self.driver = self.drive()

    def drive(self) -> RolloutDriver:
        return RolloutDriver([self.file], self.snapshot, self.measure, self.move, lambda: self.now)

    def snapshot(self) -> Snapshot:
        return loader.load([self.file]).snapshot

    def measure(self) -> Measured:
        heard = {name: counts for name, counts in self.processes.items() if name != self.unheard}
        told = [ProcessEvidence(name, {"chat": {"v2": counts.copy()}}, 1.0) for name, counts in heard.items()]
        return Measured(told, self.unheard and f"{self.unheard} can't be heard")

    def move(self) -> None:
        self.moved += 1

    def tick(self, requests: int = 0, failures: int = 0, process: str = "a", seconds: float = 1.0) -> tuple[str, int]:
        """A second passes, in which a process counts requests."""
        self.now += seconds
        if requests:
            self.processes[process].add(VersionEvidence(requests, failures, requests))
        self.driver.tick()
        (state,) = self.files.read()
        return state.phase, state.percent

    def tick_and_hear(self) -> tuple[str, int]:
        """A second passes, in which what was asked is answered."""
        found = self.tick()
        until(lambda: self.driver._looks._open is None or self.driver._looks._open.question.answered)
        return found

    def measured(self) -> int:
        (step,) = self.files.read_evidence()
        return step.versions["v2"].requests if "v2" in step.versions else 0


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    made = Machine(tmp_path, spec())
    yield made
    made.driver.stop()


def test_it_begins_moves_up_when_all_is_measured_and_is_completed(machine: Machine) -> None:
    assert machine.tick() == ("Progressing", 1)
    assert [machine.tick(30, process="a"), machine.tick(30, process="b")] == [("Progressing", 1)] * 2
    assert machine.measured() == 60
    assert machine.tick() == ("Progressing", 5)  # three seconds have passed
    machine.tick()
    assert machine.measured() == 0
    for percent in (25, 50, 100):
        assert [machine.tick(60), machine.tick(), machine.tick()][-1] == ("Progressing", percent)
        machine.tick()
    assert [machine.tick(60), machine.tick(), machine.tick()][-1] == ("Completed", 100)
    assert machine.moved == 6
    assert [machine.tick(60), machine.measured()] == [("Completed", 100), 0]  # it is over
    assert [version.weight for version in machine.snapshot().policies[0].versions] == [0, 1]


def test_it_rolls_back_at_the_look_that_shows_it(machine: Machine, caplog: pytest.LogCaptureFixture) -> None:
    """Which is a warning; that it begins is none."""
    with caplog.at_level(logging.INFO):
        machine.tick()
        assert machine.tick(40, 20) == ("RollingBack", 0)
    assert [record.levelname for record in caplog.records if "rollout of" in record.message] == ["INFO", "WARNING"]
    assert machine.snapshot().policies[0].by_name["v2"].weight == 0
    assert [machine.tick(seconds=4), machine.tick(seconds=1)] == [("RollingBack", 0), ("Failed", 0)]
    (state,) = machine.files.read()
    assert state.moves[-1].reason == "errors ≤ 1%: 50% of 40 requests of v2"


def test_a_process_that_is_not_heard_makes_it_wait(machine: Machine) -> None:
    machine.tick()
    machine.tick(60)
    machine.unheard = "b"
    assert [machine.tick(10, process="b") for _ in range(9)] == [("Progressing", 1)] * 9
    machine.unheard = ""
    machine.tick(10)  # what it has counted meanwhile is not lost
    assert machine.measured() == 160


def test_what_the_others_count_rolls_back_and_the_silent_one_is_named(machine: Machine) -> None:
    machine.tick()
    machine.unheard = "b"
    assert machine.tick(40, 20) == ("RollingBack", 0)
    (state,) = machine.files.read()
    assert state.moves[-1].reason == "errors ≤ 1%: 50% of 40 requests of v2; b can't be heard"


def test_a_look_that_fails_is_the_fault_of_its_policy_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    document = spec()
    bad = document.replace("name: chat", "name: bad", 1).replace("spec:", "spec:\n  models: [other]", 1)
    machine = Machine(tmp_path, f"{bad}\n---\n{document}")
    judge = guards.judge

    def fail(step: StepEvidence, *rest: Any) -> Verdict:
        if step.policy == "bad":
            raise ZeroDivisionError("a bug")
        return judge(step, *rest)

    monkeypatch.setattr(guards, "judge", fail)
    for failures in (0, 20, 0):
        machine.now += 1
        machine.processes["a"].add(VersionEvidence(40, failures, 40))
        machine.driver.tick()
    assert {state.policy: state.phase for state in machine.files.read()} == {
        "bad": "Progressing",
        "chat": "RollingBack",
    }
    told = {shown["policy"]: shown["fault"] for shown in machine.driver.status()}
    assert told == {"bad": "it could not be looked at: ZeroDivisionError: a bug", "chat": ""}
    assert [record.message for record in caplog.records if record.exc_info] == [
        f"the rollout of bad stays as it is: {told['bad']}"
    ]
    machine.driver.stop()


def test_a_process_that_begins_anew_counts_from_nothing(machine: Machine) -> None:
    machine.tick()
    machine.tick(60)
    machine.processes = {"c": VersionEvidence(5, 0, 5), "b": VersionEvidence()}
    machine.tick()
    assert machine.measured() == 65


def test_another_driver_goes_on_where_it_was(machine: Machine) -> None:
    machine.tick()
    machine.tick(30)
    machine.driver.stop()
    machine.processes = {"c": VersionEvidence()}
    machine.driver = machine.drive()
    machine.tick(7, process="c")
    assert machine.measured() == 37


def test_of_two_drivers_one_drives(machine: Machine, caplog: pytest.LogCaptureFixture) -> None:
    machine.tick()
    other = machine.drive()
    for _ in range(3):
        other.tick()
    assert [record.message for record in caplog.records if "another" in record.message] == [
        "another process drives the rollouts of these policies"
    ]
    machine.driver.stop()
    machine.now += 1
    other.tick()
    assert machine.driver.status() == other.status()
    other.stop()


def test_a_command_is_followed(machine: Machine) -> None:
    machine.tick()
    plan = machine.snapshot().policies[0].rollout
    (state,) = machine.files.read()
    assert plan is not None
    machine.files.write([steps.obey(state, plan, "pause", machine.now)])
    assert [machine.tick(40, 40) for _ in range(5)] == [("Paused", 1)] * 5
    (shown,) = machine.driver.status()
    assert (shown["phase"], shown["guards"][0]["verdict"]) == ("Paused", "failing")


def test_a_rollout_that_is_removed_is_forgotten_and_nothing_is_written_without_one(machine: Machine) -> None:
    machine.tick()
    machine.file.write_text(policy("versions: [{name: v1}]"))
    machine.driver.tick()
    assert machine.files.read() == ()
    machine.files.state.unlink()
    before = sorted(machine.file.parent.iterdir())
    machine.driver.tick()
    assert sorted(machine.file.parent.iterdir()) == before


def test_a_state_that_cannot_be_read_stays_as_it_is(machine: Machine) -> None:
    snapshot = machine.snapshot()
    machine.files.state.write_text("{")
    driver = RolloutDriver([machine.file], lambda: snapshot, machine.measure, machine.move)
    with pytest.raises(ValueError, match=r".+"):
        driver.tick()
    driver.stop()
    assert machine.files.state.read_text() == "{"


def test_queries_are_asked_in_turn_and_roll_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    answers: dict[str, list[float | None]] = {"a": [0.9, 0.9, None], "b": [0.5] * 9}
    asked = []

    def ask(base: str, query: str) -> float:
        asked.append((base, query))
        value = answers[query].pop(0)
        if value is None:
            raise UnusableAnswerError("nobody there")
        return value

    monkeypatch.setattr(prometheus_query, "ask", ask)
    guards = "{promql: a, min: 0.8}, {promql: b, min: 0.8}"
    machine = Machine(tmp_path, spec(guards, prometheus="'http://p:1'"))
    with caplog.at_level(logging.WARNING):
        moves = [machine.tick_and_hear() for _ in range(9)]
    assert moves[:6] == [("Progressing", 1)] * 6
    assert ("RollingBack", 0) in moves[6:]
    assert asked[:4] == [("http://p:1", "a"), ("http://p:1", "b")] * 2
    assert any("nobody there" in record.message for record in caplog.records)
    machine.driver.stop()


def test_why_a_query_has_no_value_is_in_the_status(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def ask(*_: str) -> float:
        raise UnusableAnswerError("http://p:1 answers with status 404")

    monkeypatch.setattr(prometheus_query, "ask", ask)
    machine = Machine(tmp_path, spec("{promql: a, min: 0.8}", prometheus="'http://p:1'"))
    machine.tick()
    machine.tick_and_hear()
    machine.tick()
    (shown,) = machine.driver.status()
    assert shown["guards"][0]["reason"] == "no value: http://p:1 answers with status 404"
    machine.driver.stop()


def test_a_query_that_is_not_answered_holds_up_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Other guards are judged, evidence is written, and the driver stops."""
    asked, answered = [], Event()

    def ask(_base: str, query: str) -> float:
        asked.append(query)
        answered.wait(10)
        return 1.0

    monkeypatch.setattr(prometheus_query, "ask", ask)
    machine = Machine(tmp_path, spec("{metric: errors, max: 1%}, {promql: a, min: 0.8}", prometheus="'http://p:1'"))
    machine.tick()
    machine.tick()
    until(lambda: asked)
    assert machine.tick(30) == ("Progressing", 1)
    assert (asked, machine.measured()) == (["a"], 30)
    assert machine.tick(40, 20) == ("RollingBack", 0)
    answered.set()
    machine.driver.stop()


@pytest.mark.parametrize(("later", "value"), [(0.0, 0.5), (1.0, None)])
def test_an_answer_counts_for_the_step_for_which_it_was_asked(
    later: float, value: float | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prometheus_query, "ask", lambda *_: 0.5)
    machine = Machine(tmp_path, spec("{promql: a, min: 0.8}", prometheus="'http://p:1'"))
    machine.tick()
    machine.tick_and_hear()
    (state,) = machine.files.read()
    machine.files.write([msgspec.structs.replace(state, since=state.since + later)])
    machine.tick()
    (step,) = machine.files.read_evidence()
    assert [guard.value for guard in step.guards] == [value]
    machine.driver.stop()


def test_drivers_that_are_killed_at_any_moment_leave_what_was_in_force(tmp_path: Path) -> None:
    """In each state; what they leave is held in ``killed_drivers``."""
    rounds = os.environ.get("EXTPROC_TEST_ROLLOUTS", "2")
    words = [sys.executable, "-m", "tests.unit.serve.killed_drivers", str(tmp_path), rounds, "7"]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert {"Paused", "Failed", "Completed"} <= json.loads(done.stdout).keys() <= PHASES

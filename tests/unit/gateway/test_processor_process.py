"""A processor that dies is started again."""

from __future__ import annotations

import signal
from pathlib import Path
from types import SimpleNamespace
from typing import ClassVar

import pytest

from extproc.errors import SetupError
from extproc.gateway import processor_process
from extproc.gateway.processor_process import Processor
from extproc.serve.options import ServeOptions


class Child:
    """Stands for a ChildProcess."""

    started: ClassVar[list[Child]] = []
    refused = ""

    def __init__(self, name: str, command: list[str], *, echo: bool) -> None:
        if self.refused:
            raise SetupError(self.refused)
        self.name, self.command, self.echo = name, command, echo
        self.process = SimpleNamespace(returncode=None)
        self.started.append(self)

    @property
    def alive(self) -> bool:
        return self.process.returncode is None


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    monkeypatch.setattr(Child, "started", [])
    monkeypatch.setattr(processor_process, "ChildProcess", Child)
    time = SimpleNamespace(now=0.0)
    time.monotonic = lambda: time.now
    monkeypatch.setattr(processor_process, "time", time)
    return time


@pytest.fixture
def processor(clock: SimpleNamespace) -> Processor:
    return Processor(ServeOptions(policies=(Path("p.yaml"),)))


def test_a_processor_that_ends_is_started_again_after_a_while(
    processor: Processor, clock: SimpleNamespace, capsys: pytest.CaptureFixture[str]
) -> None:
    processor.poll()
    (first,) = Child.started
    assert first.command[1:6] == ["-m", "extproc", "serve", "-f", "p.yaml"]
    first.process.returncode = -signal.SIGKILL
    processor.poll()
    processor.poll()
    assert len(Child.started) == 1
    clock.now += 0.5
    processor.poll()
    assert len(Child.started) == 2
    assert processor.child is not first  # type: ignore[comparison-overlap]
    processor.poll()
    assert len(Child.started) == 2
    said = "extproc: the processor ended with signal SIGKILL; starting it again in 0.5 s\n"
    assert capsys.readouterr().err == said


def test_where_it_can_not_be_started_it_is_tried_again(
    processor: Processor,
    clock: SimpleNamespace,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    Child.started[0].process.returncode = 0
    processor.poll()
    monkeypatch.setattr(Child, "refused", "no memory")
    processor.poll()
    assert capsys.readouterr().err.endswith("extproc: no memory; starting it again in 0.5 s\n")
    monkeypatch.setattr(Child, "refused", "")
    clock.now += 0.5
    processor.poll()
    assert len(Child.started) == 2

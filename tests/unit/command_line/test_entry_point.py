"""Errors as messages and exit statuses."""

from __future__ import annotations

import argparse
from collections.abc import Callable

import pytest

from extproc.command_line.entry_point import run_command
from extproc.errors import PolicyProblems, Problem, SetupError


def outcome(run: Callable[[], object], capsys: pytest.CaptureFixture[str]) -> tuple[int, str]:
    """Exit status and stderr of a command that does this."""
    parser = argparse.ArgumentParser(prog="tool")
    parser.set_defaults(run=lambda _: run())
    status = run_command(parser, [])
    printed = capsys.readouterr()
    assert printed.out == ""
    return status, printed.err


def raising(error: BaseException) -> Callable[[], object]:
    def run() -> object:
        raise error

    return run


def problem(warning: bool = False) -> Problem:
    return Problem("p.yaml", 3, 1, "spec.port", "is wrong", "mend it", warning)


@pytest.mark.parametrize("status", [0, 1, 7])
def test_the_command_chooses_its_status(status: int, capsys: pytest.CaptureFixture[str]) -> None:
    assert outcome(lambda: status, capsys) == (status, "")


def test_a_truth_is_a_status(capsys: pytest.CaptureFixture[str]) -> None:
    status, _ = outcome(lambda: True, capsys)
    assert (status, type(status)) == (1, int)


def test_every_line_of_a_setup_error_has_the_program_s_name(capsys: pytest.CaptureFixture[str]) -> None:
    assert outcome(raising(SetupError("no Envoy\ninstall it")), capsys) == (1, "tool: no Envoy\ntool: install it\n")


@pytest.mark.parametrize(
    ("problems", "summary"),
    [
        ([problem()], "1 error, 0 warnings"),
        ([problem(), problem(warning=True), problem()], "2 errors, 1 warning"),
    ],
)
def test_problems_of_policies_are_listed_and_counted(
    problems: list[Problem], summary: str, capsys: pytest.CaptureFixture[str]
) -> None:
    status, said = outcome(raising(PolicyProblems(problems)), capsys)
    assert (status, said.splitlines()) == (2, [*map(str, problems), summary])


@pytest.mark.parametrize(("error", "status"), [(BrokenPipeError(), 1), (KeyboardInterrupt(), 130)])
def test_who_stops_it_knows_why(error: BaseException, status: int, capsys: pytest.CaptureFixture[str]) -> None:
    assert outcome(raising(error), capsys) == (status, "")


def test_a_bug_is_not_hidden() -> None:
    parser = argparse.ArgumentParser()
    parser.set_defaults(run=lambda _: raising(ValueError("bug"))())
    with pytest.raises(ValueError, match="bug"):
        run_command(parser, [])


def test_the_process_s_own_words_are_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["tool", "--status", "5"])
    parser = argparse.ArgumentParser()
    parser.add_argument("--status")
    parser.set_defaults(run=lambda found: found.status)
    assert run_command(parser, None) == 5

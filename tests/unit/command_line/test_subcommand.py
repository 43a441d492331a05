"""A command of a command line: found by its name, helped by its examples."""

from __future__ import annotations

import argparse
from pathlib import Path

import pytest

from extproc.command_line.subcommand import Help, command, policies


def line() -> argparse.ArgumentParser:
    top = argparse.ArgumentParser(prog="top", formatter_class=Help)
    commands = top.add_subparsers(required=True)
    policies(command(commands, "check", lambda _: 7, "find mistakes", "examples:\n  top check -f a.yaml\n"))
    return top


def test_the_chosen_command_knows_what_to_run() -> None:
    found = line().parse_args(["check", "-f", "a.yaml", "--file", "b"])
    assert found.run(found) == 7
    assert found.file == [Path("a.yaml"), Path("b")]


def test_help_shows_examples_as_they_are_written(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        line().parse_args(["check", "--help"])
    assert left.value.code == 0
    text = capsys.readouterr().out
    assert "Find mistakes." in text
    assert "examples:\n  top check -f a.yaml\n" in text


def test_a_policy_is_wanted(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        line().parse_args(["check"])
    assert left.value.code == 2
    assert "-f/--file" in capsys.readouterr().err

"""A command of a command line: found by its name, helped by its examples."""

from __future__ import annotations

import argparse
from pathlib import Path

import pytest

from extproc.command_line.subcommand import CommandParser, Help, command, policies


def line() -> argparse.ArgumentParser:
    return with_check(CommandParser(prog="top", formatter_class=Help))


def with_check(top: argparse.ArgumentParser) -> argparse.ArgumentParser:
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


def test_a_group_s_text_is_wrapped(capsys: pytest.CaptureFixture[str]) -> None:
    parser = argparse.ArgumentParser(formatter_class=Help)
    parser.add_argument_group("group", "many words " * 20)
    parser.print_help()
    assert max(map(len, capsys.readouterr().out.splitlines())) <= 100


def test_a_policy_is_wanted(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        line().parse_args(["check"])
    assert left.value.code == 2
    assert "-f/--file" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["check", "policy.yaml"], "top check: error: a policy file is given with -f: -f policy.yaml"),
        (["check", "-f", "a.yaml", "b.yml"], "top check: error: a policy file is given with -f: -f b.yml"),
        (["check", "-f", "a.yaml", "b"], "top check: error: unrecognized arguments: b"),
        (["check", "-f", "a.yaml", "--not"], "top check: error: unrecognized arguments: --not"),
        (["check", "b"], "top check: error: the following arguments are required: -f/--file"),
    ],
)
def test_a_forgotten_flag_is_named(words: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        line().parse_args(words)
    assert (left.value.code, capsys.readouterr().err.splitlines()[-1]) == (2, said)


def test_a_folder_of_policies_is_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        line().parse_args(["check", str(tmp_path)])
    assert capsys.readouterr().err.endswith(f"-f {tmp_path}\n")

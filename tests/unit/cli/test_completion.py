"""`extproc completion`: scripts for shells, and what a real bash completes with one."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from extproc.cli.main import COMMANDS, main
from tests.unit.cli.command_lines import refused


@pytest.mark.parametrize(
    ("shell", "word"), [("bash", "complete -o"), ("zsh", "compdef"), ("fish", "complete --command extproc")]
)
def test_a_script_for_each_shell(shell: str, word: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["completion", shell]) == 0
    assert word in capsys.readouterr().out


def test_a_shell_that_is_unknown(capsys: pytest.CaptureFixture[str]) -> None:
    assert "'tcsh'" in refused(capsys, "completion", "tcsh")


def completed(line: str, directory: Path) -> list[str]:
    """What bash offers after ``line``, with the script and the program of this tree."""
    program = directory / "extproc"
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m extproc "$@"\n')
    program.chmod(0o755)
    script = (
        'source <(extproc completion bash); COMP_LINE=$1; COMP_POINT=${#1}; COMP_TYPE=9; read -ra COMP_WORDS <<< "$1"; '
        "_python_argcomplete extproc; printf '%s\\n' \"${COMPREPLY[@]}\""
    )
    environment = {**os.environ, "PATH": f"{directory}{os.pathsep}{os.environ['PATH']}"}
    run = subprocess.run(
        [shutil.which("bash") or "", "-c", script, "bash", line],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    return [word.strip() for word in run.stdout.splitlines()]


def test_bash_completes_commands(tmp_path: Path) -> None:
    assert set(completed("extproc demo", tmp_path)) == {"demo", "demo-model"} <= set(COMMANDS)


def test_bash_completes_flags(tmp_path: Path) -> None:
    assert completed("extproc tap --mo", tmp_path) == ["--model"]

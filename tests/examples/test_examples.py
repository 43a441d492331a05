"""The commands in the examples' READMEs work, and print what stands below them."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from extproc.cli.main import main
from tests.house.tree import ROOT

FOLDERS = sorted(path.parent for path in (ROOT / "examples").glob("*/policy.yaml"))


def commands(readme: Path) -> list[tuple[str, list[str]]]:
    """Each command with the lines of its output that the page shows."""
    found: list[tuple[str, list[str]]] = []
    for block in re.findall(r"^```\n(.*?)^```", readme.read_text(), re.MULTILINE | re.DOTALL):
        for line in block.splitlines():
            if line.startswith("$ "):
                found.append((line[2:], []))
            else:
                found[-1][1].append(line)
    return found


def test_every_folder_is_in_the_index() -> None:
    index = (ROOT / "examples" / "README.md").read_text()
    assert len(FOLDERS) == 8
    assert all(f"({folder.name}/README.md)" in index for folder in FOLDERS)


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda path: path.name)
def test_its_commands_print_what_the_page_shows(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(folder)
    shown = commands(folder / "README.md")
    assert len(shown) >= 2
    for command, lines in shown:
        program, *arguments = shlex.split(command)
        assert program == "extproc"
        assert main(arguments) == 0, command
        printed = capsys.readouterr().out.splitlines()
        assert [line for line in lines if line not in printed] == [], command

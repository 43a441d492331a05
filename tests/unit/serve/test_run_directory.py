"""Directories of runs: gone when the run ends, and swept by the next one where it was killed."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from extproc.serve.run_directory import RunDirectory, run_directory

KILLED = """
import os, signal
from extproc.serve.run_directory import RunDirectory
print(RunDirectory().path, flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The temporary folder, for this process and those that it starts."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", None)
    return tmp_path


def test_it_goes_with_the_run(folder: Path) -> None:
    with run_directory() as directory:
        assert directory.parent == folder
        (directory / "socket").touch()
    assert list(folder.iterdir()) == []


def test_it_may_be_removed_again(folder: Path) -> None:
    directory = RunDirectory()
    directory.remove()
    directory.remove()
    assert list(folder.iterdir()) == []


def test_what_a_killed_run_left_goes_with_the_next(folder: Path) -> None:
    killed = subprocess.run([sys.executable, "-c", KILLED], stdout=subprocess.PIPE, text=True, check=False)
    assert killed.returncode == -9
    assert [str(path) for path in folder.iterdir()] == [killed.stdout.strip()]
    with run_directory() as directory:
        assert list(folder.iterdir()) == [directory]


def test_what_lives_or_is_others_stays(folder: Path) -> None:
    (folder / "extproc-without-lock").mkdir()
    (folder / "elsewhere").mkdir()
    (folder / "elsewhere" / "lock").touch()
    (folder / "extproc-link").symlink_to(folder / "elsewhere")
    (folder / "extproc-file").touch()
    before = set(folder.iterdir())
    with run_directory() as first, run_directory() as second:
        assert set(folder.iterdir()) == before | {first, second}
    assert set(folder.iterdir()) == before

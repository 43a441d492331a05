"""Manifests from files, directories and stdin."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from extproc.lint import manifest_files
from extproc.policyfile import loader

STDIN = Path("-")


def write_stdin(monkeypatch: pytest.MonkeyPatch, data: bytes) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(data)))


def test_files_and_the_yaml_files_of_directories(tmp_path: Path) -> None:
    for name in ("b.yaml", "a.yml", "c.json", ".hidden.yaml"):
        (tmp_path / name).write_text(name)
    (tmp_path / "below.yaml").mkdir()
    texts, problems = manifest_files.read([tmp_path / "c.json", tmp_path])
    assert [(Path(name).name, text) for name, text in texts] == [(n, n) for n in ("c.json", "a.yml", "b.yaml")]
    assert problems == []


def test_a_file_that_is_given_twice_is_read_once(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("a")
    (tmp_path / "b.yaml").symlink_to(tmp_path / "a.yaml")
    texts, _ = manifest_files.read([tmp_path / "a.yaml", tmp_path])
    assert texts == [(str(tmp_path / "a.yaml"), "a")]


def test_what_can_not_be_read_is_told_beside_what_can(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("a")
    (tmp_path / "empty").mkdir()
    texts, problems = manifest_files.read([tmp_path / "none.yaml", tmp_path / "a.yaml", tmp_path / "empty"])
    assert [text for _, text in texts] == ["a"]
    assert [(Path(p.file).name, p.message) for p in problems] == [
        ("none.yaml", "does not exist"),
        ("empty", "no *.yaml or *.yml is in this directory"),
    ]


def test_stdin_comes_last_whatever_its_place(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("a")
    write_stdin(monkeypatch, b"from stdin")
    assert manifest_files.read([STDIN, tmp_path / "a.yaml", STDIN])[0] == [
        (str(tmp_path / "a.yaml"), "a"),
        ("<stdin>", "from stdin"),
    ]


def test_stdin_is_not_read_unless_it_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", None)
    assert manifest_files.read([]) == ([], [])


@pytest.mark.parametrize("data", [b"", b" \n\t"])
def test_an_empty_stdin_is_a_problem(monkeypatch: pytest.MonkeyPatch, data: bytes) -> None:
    write_stdin(monkeypatch, data)
    texts, (problem,) = manifest_files.read([STDIN])
    assert texts == []
    assert str(problem) == "<stdin>: error: nothing came; see what the command before it says"


def test_stdin_has_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loader, "MAX_SIZE", 2 << 20)
    write_stdin(monkeypatch, b"#" * (2 << 20))
    assert manifest_files.read([STDIN])[1] == []
    write_stdin(monkeypatch, b"#" * ((2 << 20) + 1))
    texts, (problem,) = manifest_files.read([STDIN])
    assert (texts, problem.message) == ([], "more than 2 MiB")


def test_what_is_no_utf_8_is_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    write_stdin(monkeypatch, b"a: \xff")
    assert manifest_files.read([STDIN])[0] == [("<stdin>", "a: \ufffd")]

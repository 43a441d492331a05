"""Small files, honest names, docstrings."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from tests.house.tree import ROOT

SOURCES = ("extproc", "linkerd-adapter", "tests", "benchmarks", "docs")
LONGEST = 300
LONGEST_TEST = 400
"""Tables of cases are long, and easily read."""
VAGUE = {"utils", "util", "helpers", "helper", "manager", "context", "common", "misc"}


def sources(root: Path) -> list[Path]:
    """Every Python file that people write."""
    files = [path for folder in SOURCES for path in sorted((root / folder).rglob("*.py"))]
    return [path for path in files if not path.name.endswith("_pb2.py")]


def faults(root: Path) -> list[str]:
    """What breaks the rules on files, names and docstrings in the tree at ``root``."""
    found = []
    for path in sources(root):
        name, text = path.relative_to(root).as_posix(), path.read_text()
        longest = LONGEST_TEST if name.startswith("tests/") else LONGEST
        if (lines := text.count("\n")) > longest:
            found.append(f"{name}: {lines} lines; split it ({longest} at the most)")
        if VAGUE & {part.removeprefix("test_") for part in path.relative_to(root).with_suffix("").parts}:
            found.append(f"{name}: a name that says nothing")
        if text.strip() and not ast.get_docstring(ast.parse(text)):
            found.append(f"{name}: no docstring says what it is")
    return found


def test_small_files_honest_names_docstrings() -> None:
    assert faults(ROOT) == []


@pytest.mark.parametrize(
    ("file", "text", "problem"),
    [
        ("extproc/long.py", '"""Long."""\n' + "x = 1\n" * 300, "extproc/long.py: 301 lines"),
        ("tests/unit/test_long.py", '"""Long."""\n' + "x = 1\n" * 400, "tests/unit/test_long.py: 401 lines"),
        ("tests/unit/helpers.py", '"""Help."""\n', "tests/unit/helpers.py: a name that says nothing"),
        ("extproc/utils/words.py", '"""Words."""\n', "extproc/utils/words.py: a name that says nothing"),
        ("benchmarks/core.py", "x = 1\n", "benchmarks/core.py: no docstring"),
    ],
)
def test_a_fault_is_seen(tmp_path: Path, file: str, text: str, problem: str) -> None:
    for name, content in {"extproc/fine.py": '"""Fine."""\n' + "x = 1\n" * 299, file: text}.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(content)
    (found,) = faults(tmp_path)
    assert found.startswith(problem)

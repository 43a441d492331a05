"""A unit test for every module that holds logic, under its name, and no test file's name twice."""

from __future__ import annotations

import ast
from collections import Counter
from pathlib import Path

import pytest

from tests.house.tree import ROOT, modules, names_of_test


def holds_logic(tree: ast.Module) -> bool:
    """Whether it has a function that does something, beyond the signatures of a protocol."""
    return any(
        _does_something(node) for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    )


def _does_something(function: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    return any(not (isinstance(s, ast.Expr) and isinstance(s.value, ast.Constant)) for s in function.body)


def unmirrored(known: dict[str, ast.Module], unit: set[Path]) -> list[str]:
    """Modules with logic and without a test of their own, and unit tests of no module."""
    expected = {module: names_of_test(module) for module in known}
    untested = [m for m, paths in expected.items() if holds_logic(known[m]) and not unit & set(paths)]
    every = {path for paths in expected.values() for path in paths}
    return [
        *(f"{module}: no tests/unit/{expected[module][0]}" for module in untested),
        *(f"tests/unit/{path}: mirrors no module" for path in sorted(unit - every)),
    ]


def test_every_module_with_logic_has_its_test() -> None:
    unit = {path.relative_to(ROOT / "tests/unit") for path in (ROOT / "tests/unit").rglob("test_*.py")}
    assert unmirrored(modules(ROOT), unit) == []


def test_no_two_test_files_have_one_name() -> None:
    names = Counter(path.name for path in (ROOT / "tests").rglob("test_*.py"))
    assert [name for name, count in names.items() if count > 1] == []


LOGIC = ast.parse('def f():\n    """Docs."""\n    return 1')
NONE = ast.parse('class P:\n    def f(self):\n        """Docs."""')


@pytest.mark.parametrize(
    ("tests", "problems"),
    [
        (["apis/test_row.py", "test_headers.py"], []),
        (["apis/test_apis_row.py", "test_extproc_headers.py"], []),
        (["test_headers.py"], ["extproc.apis.row: no tests/unit/apis/test_row.py"]),
        (
            ["test_row.py", "test_headers.py"],
            ["extproc.apis.row: no tests/unit/apis/test_row.py", "tests/unit/test_row.py: mirrors no module"],
        ),
    ],
)
def test_a_missing_and_a_superfluous_test_are_seen(tests: list[str], problems: list[str]) -> None:
    known = {"extproc.apis.row": LOGIC, "extproc.headers": LOGIC, "extproc.apis.shape": NONE}
    assert unmirrored(known, {Path(test) for test in tests}) == problems

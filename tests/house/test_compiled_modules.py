"""What ``setup.py`` compiles is there, and whatever runs here is what is written unless the run says otherwise."""

from __future__ import annotations

import ast
import importlib
import os

import pytest

from tests.house.tree import ROOT

COMPILED = "EXTPROC_TEST_COMPILED" in os.environ
"""Set by `make test-compiled`, which has everything run on compiled modules."""


def chosen() -> tuple[str, ...]:
    """The modules that ``setup.py`` names; to import it would be to run it."""
    for statement in ast.parse((ROOT / "setup.py").read_text()).body:
        if isinstance(statement, ast.Assign) and ast.unparse(statement.targets[0]) == "COMPILED":
            names: tuple[str, ...] = eval(ast.unparse(statement.value), {})  # noqa: S307 - our own file
            return names
    raise AssertionError("setup.py compiles nothing")


@pytest.mark.parametrize("name", chosen())
def test_it_runs_as_the_run_says(name: str) -> None:
    path = ROOT / "extproc" / (name.replace(".", "/") + ".py")
    found = importlib.import_module("extproc." + name.removesuffix(".__init__")).__file__ or ""
    assert path.exists()
    assert found.endswith(".so") if COMPILED else found == str(path)


def test_types_in_c_are_of_compiled_modules() -> None:
    typed = {path.relative_to(ROOT / "extproc").with_suffix("").as_posix() for path in ROOT.glob("extproc/**/*.pxd")}
    assert typed <= {name.replace(".", "/") for name in chosen()}

"""What ``setup.py`` compiles is there, and whatever runs here is what is written unless the run says otherwise."""

from __future__ import annotations

import ast
import importlib
import os
import re
import subprocess
import sys
import sysconfig
from pathlib import Path

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


def test_no_class_that_is_final_in_c_has_subclasses() -> None:
    """Cython refuses them, which nothing would tell before a wheel is built."""
    types = [(path, path.read_text()) for path in ROOT.glob("extproc/**/*.pxd")]
    final = {name for _, text in types for name in re.findall(r"@cython\.final\ncdef class (\w+)", text)}
    assert final
    modules = [ast.parse(path.with_suffix(".py").read_text()) for path, _ in types]
    classes = [node for tree in modules for node in ast.walk(tree) if isinstance(node, ast.ClassDef)]
    assert [node.name for node in classes if {ast.unparse(base) for base in node.bases} & final] == []


@pytest.mark.skipif(
    not Path(sysconfig.get_path("include"), "Python.h").exists(),
    reason="no headers of this Python: nothing is compiled",
)
def test_a_compiler_without_gccs_flags_gets_others(tmp_path: Path) -> None:
    """As clang: it ends with an error at a flag that it does not know."""
    compiler = tmp_path / "cc"
    compiler.write_text('#!/bin/sh\ncase "$*" in *-fno-tree-pta*) exit 1 ;; esac\nexec cc "$@"\n')
    compiler.chmod(0o755)
    asked = (
        "import runpy; found = runpy.run_path('setup.py', run_name='setup'); "
        "print(*(not found['hindrance'](found[flags]) for flags in ('FLAGS', 'PLAIN_FLAGS')))"
    )
    for chosen_compiler, expected in (("cc", "True True"), (str(compiler), "False True")):
        environment = os.environ | {"CC": chosen_compiler}
        done = subprocess.run(
            [sys.executable, "-c", asked], cwd=ROOT, env=environment, capture_output=True, text=True, check=True
        )
        assert done.stdout.splitlines()[-1] == expected


def test_no_module_of_an_earlier_build_is_left(tmp_path: Path) -> None:
    """pip builds in a folder that is still there the next time; what is compiled goes before its source."""
    suffix = sysconfig.get_config_var("EXT_SUFFIX")
    folder = tmp_path / "extproc" / "policy"
    folder.mkdir(parents=True)
    for name in ("decision", "gone"):
        (folder / f"{name}{suffix}").touch()
    script = (
        "import runpy, sys; from setuptools import Distribution, Extension; "
        "found = runpy.run_path('setup.py', run_name='setup'); "
        "modules = [Extension('extproc.policy.decision', [])]; "
        "command = found['BuildPy'](Distribution({'ext_modules': modules})); command.build_lib = sys.argv[1]; "
        "command.ensure_finalized(); command.run()"
    )
    subprocess.run([sys.executable, "-c", script, str(tmp_path)], cwd=ROOT, check=True, capture_output=True)
    assert [path.name for path in folder.iterdir()] == [f"decision{suffix}"]

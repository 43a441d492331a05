"""What no linter knows of this house: small files, honest names, a test for every module."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from tests.unit.house import ROOT, floor, modules, short

SOURCES = ("extproc", "linkerd-adapter", "tests", "benchmarks")
LONGEST = 300
LONGEST_TEST = 400
"""Tables of cases are long, and easily read."""
VAGUE = {"utils", "util", "helpers", "helper", "manager", "context", "common", "misc"}
TESTS = ROOT / "tests" / "unit"
OF_NO_MODULE = {"test_floors", "test_house", "test_setup"}
TESTED_UP_TO = 4


def sources(root: Path) -> list[Path]:
    """Every Python file that people write."""
    files = [path for folder in SOURCES for path in sorted((root / folder).rglob("*.py"))]
    return [path for path in files if not path.name.endswith("_pb2.py")]


def unhomely(root: Path) -> list[str]:
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


def names_of_test(module: str) -> set[str]:
    """Names that the test of a module may have: its own, or in a package also the package's, or both."""
    parts = short(module).split(".")
    return {"test_" + "_".join(parts), f"test_{parts[-1]}", f"test_{parts[0]}"}


def unmirrored(names: list[str], unit: set[str], elsewhere: frozenset[str] = frozenset()) -> list[str]:
    """Modules of the lower floors without a test, and unit tests of no module.

    ``elsewhere``: tests in other folders, as of a module that only the real Envoy can judge.
    """
    low = [name for name in names if (floor(name) or 0) <= TESTED_UP_TO]
    untested = [name for name in low if not names_of_test(name) & (unit | elsewhere)]
    every = {name for module in names for name in names_of_test(module)} | OF_NO_MODULE
    return [
        *(f"{name}: no tests/unit/test_{short(name).replace('.', '_')}.py" for name in untested),
        *(f"tests/unit/{test}.py: mirrors no module" for test in sorted(unit - every)),
    ]


def test_small_files_honest_names_docstrings() -> None:
    assert unhomely(ROOT) == []


def test_every_module_of_the_lower_floors_has_its_test() -> None:
    unit = {path.stem for path in TESTS.rglob("test_*.py")}
    elsewhere = frozenset(path.stem for path in TESTS.parent.rglob("test_*.py")) - unit
    assert unmirrored(list(modules(ROOT)), unit, elsewhere) == []


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
def test_an_unhomely_file_is_seen(tmp_path: Path, file: str, text: str, problem: str) -> None:
    for name, content in {"extproc/fine.py": '"""Fine."""\n' + "x = 1\n" * 299, file: text}.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(content)
    (found,) = unhomely(tmp_path)
    assert found.startswith(problem)


def test_a_missing_and_a_superfluous_test_are_seen() -> None:
    names = ["extproc.envoy.codec", "extproc.apis.oip", "extproc.apis.openai", "extproc.serve.server"]
    assert unmirrored(names, {"test_codec", "test_oip", "test_apis_openai", "test_house"}) == []
    assert unmirrored(names, {"test_codec", "test_apis"}) == []
    assert unmirrored(names, {"test_codec"}, frozenset({"test_apis", "test_whatever"})) == []
    assert unmirrored(names, {"test_apis", "test_cod"}) == [
        "extproc.envoy.codec: no tests/unit/test_codec.py",
        "tests/unit/test_cod.py: mirrors no module",
    ]

"""Mistakes that can be planted in a module, and those that are known to change nothing."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import msgspec
from cosmic_ray.ast import Visitor, get_ast
from cosmic_ray.mutating import MutationVisitor
from cosmic_ray.operators.operator import Operator
from cosmic_ray.plugins import get_operator, operator_names

from tests.house.tree import ROOT, modules, names_of_test, short

KINDS = ("Comparison", "AddNot", "TrueWith", "FalseWith", "AndWith", "OrWith", "BreakWith", "ContinueWith")
NUMBERS = ("NumberReplacer", "BinaryOperator_Add_Sub", "BinaryOperator_Sub_Add", "BinaryOperator_Mul_Div")
IDENTITY = ("_Is", "_IsNot", "Eq_Lt", "Eq_Gt", "NotEq_Lt", "NotEq_Gt")
"""Between values of one kind, ``is`` and ``==`` mostly say the same; ``!=`` for ``==`` is mistake enough."""
EQUIVALENT = Path(__file__).with_name("equivalent.toml")


class Mistake(msgspec.Struct, frozen=True):
    """One changed line of a module."""

    module: str
    line: int
    """1-based."""
    before: str
    after: str
    source: str
    """The whole module with the mistake."""

    @property
    def key(self) -> tuple[str, str, str]:
        """The same as long as the line is."""
        return self.module, self.before, self.after

    @property
    def path(self) -> Path:
        """Of the module, from the tree's root."""
        return path_of(self.module)

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {"module": self.module, "line": self.line, "before": self.before, "after": self.after}

    def __str__(self) -> str:
        return f"{self.path}:{self.line}\n  - {self.before}\n  + {self.after}"


class DeleteAssignment(Operator):  # type: ignore[misc]
    """Leaves out a statement that changes a value in place: ``at += 1``."""

    def mutation_positions(self, node: Any) -> Iterator[tuple[Any, Any]]:
        """Where there is one."""
        if node.type == "expr_stmt" and node.children[1].type == "operator" and node.children[1].value in ("+=", "-="):
            yield node.start_pos, node.end_pos

    def mutate(self, node: Any, index: int) -> Any:  # noqa: ARG002 - the signature of every operator
        """The statement that does nothing in its place."""
        return get_ast(f"{node.get_first_leaf().prefix}pass").children[0]

    @classmethod
    def examples(cls) -> tuple[()]:
        """None."""
        return ()


def path_of(module: str) -> Path:
    """Of a module's source, from the tree's root."""
    base = Path("linkerd-adapter") if module.startswith("linkerd_adapter") else Path()
    path = base / Path(*module.split("."))
    return path / "__init__.py" if (ROOT / path).is_dir() else path.with_suffix(".py")


def tests_of(module: str) -> list[str]:
    """The module's own tests, from the tree's root."""
    return [str(path) for name in names_of_test(module) if (ROOT / (path := Path("tests/unit") / name)).exists()]


class Site(msgspec.Struct, frozen=True):
    """Where a mistake may be planted: the operator's index and which of its positions in the module."""

    module: str
    operator: int
    occurrence: int


class _Count(Visitor):  # type: ignore[misc]
    def __init__(self, operator: Operator) -> None:
        self.positions = 0
        self._operator = operator

    def visit(self, node: Any) -> Any:
        """Leaves the node as it is."""
        self.positions += len(list(self._operator.mutation_positions(node)))
        return node


def sites(package: str, named: str) -> Iterator[Site]:
    """Every site in the package's modules (or in the one module of that name) with ``named`` in their names."""
    for module in modules(ROOT):
        inside = short(module).removeprefix("linkerd_adapter.").split(".")[0] == package
        if inside and named in module and tests_of(module):
            tree = get_ast((ROOT / path_of(module)).read_text())
            for number, operator in enumerate(_operators()):
                count = _Count(operator)
                count.walk(tree)
                yield from (Site(module, number, occurrence) for occurrence in range(count.positions))


def mistake_at(site: Site) -> Mistake | None:
    """None where it would change an import, a signature or more than one line."""
    source = (ROOT / path_of(site.module)).read_text()
    changed = MutationVisitor.mutate_code(source, _operators()[site.operator], site.occurrence)
    return None if changed is None else _difference(site.module, source, changed)


@cache
def _operators() -> tuple[Any, ...]:
    names = [
        name
        for name in operator_names()
        if any(kind in name for kind in (*KINDS, *NUMBERS)) and not any(kind in name for kind in IDENTITY)
    ]
    return (*(get_operator(name)() for name in names), DeleteAssignment())


def _difference(module: str, source: str, changed: str) -> Mistake | None:
    lines, others = source.splitlines(), changed.splitlines()
    if len(lines) != len(others):
        return None
    different = [(n, a.strip(), b.strip()) for n, (a, b) in enumerate(zip(lines, others, strict=True), 1) if a != b]
    if len(different) != 1 or different[0][1].startswith(("from ", "import ", "def ")):
        return None
    return Mistake(module, *different[0], changed)


def known_equivalents() -> set[tuple[str, str, str]]:
    """Keys of the mistakes that change nothing that a caller can see. Each has a reason."""
    entries = tomllib.loads(EQUIVALENT.read_text()).get("mistake", [])
    assert all(entry["why"] for entry in entries)
    return {(entry["module"], entry["before"], entry["after"]) for entry in entries}

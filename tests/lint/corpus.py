"""The Istio manifests of ``tests/lint/istio``, and what single modules of rules find in them and in other texts."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import pytest

from extproc.lint.findings import Finding
from extproc.lint.mesh import Mesh, read
from extproc.lint.object_names import once
from extproc.lint.rule_modules import RuleModule

CORPUS = Path(__file__).parent / "istio"
BAD = sorted((CORPUS / "bad").glob("*.yaml"))
GOOD = sorted((CORPUS / "good").glob("*.yaml"))
_AT_READING = "AIM001"
"""The linter's own, for files that no module sees."""

Module = RuleModule[Mesh]


def codes(path: Path) -> set[str]:
    """What the first line of a bad manifest names."""
    first = path.read_text().partition("\n")[0]
    return set(first.removeprefix("#").partition(":")[0].split())


def bad(module: Module) -> pytest.MarkDecorator:
    """Runs a test for each bad manifest that breaks a rule of ``module``."""
    files = [path for path in BAD if codes(path) & _own(module)]
    return pytest.mark.parametrize("path", files, ids=lambda path: path.stem)


def expected(module: Module, path: Path) -> set[str]:
    """The rules of ``module`` that a bad manifest breaks."""
    return codes(path) & _own(module)


def found(module: Module, path: Path, *more: Module) -> set[str]:
    """The rules of ``module`` that it finds broken in a manifest; it or ``more``, which look for some of them too."""
    return {finding.code for each in (module, *more) for finding in each.check(_mesh(path))} & _own(module)


def found_in_good(module: Module) -> list[str]:
    """What ``module`` finds in manifests that are well: it should be nothing."""
    return [str(finding) for path in GOOD for finding in module.check(_mesh(path))]


def findings(module: Module, text: str) -> list[Finding]:
    """All that ``module`` finds in a text, in the order in which it finds it."""
    return list(module.check(mesh(text)))


def found_codes(module: Module, text: str) -> list[str]:
    """The codes of all that ``module`` finds in a text."""
    return [finding.code for finding in module.check(mesh(text))]


def mesh(text: str) -> Mesh:
    """The resources in a text of YAML without faults."""
    resources, problems = read([("f.yaml", text)])
    assert problems == []
    return Mesh(once(resources))


@cache
def _mesh(path: Path) -> Mesh:
    return Mesh(once(read([(path.name, path.read_text())])[0]))


def _own(module: Any) -> set[str]:
    return {rule.code for rule in module.RULES} - {_AT_READING}

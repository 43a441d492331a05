"""All rules over all files. Floor 4: imports every module of ``lint``."""

from __future__ import annotations

from collections.abc import Sequence
from types import ModuleType

import msgspec

from extproc.errors import Problem
from extproc.findings import Finding, Rule, of_problem, table
from extproc.lint import (
    clusters,
    destinationrule,
    hosts,
    kinds,
    placement,
    processor,
    serviceentry,
    spelling,
    spoofing,
    telemetry,
    virtualservice,
)
from extproc.lint.manifest import read
from extproc.lint.mesh import Mesh

PARTS = (
    kinds,
    placement,
    spelling,
    processor,
    clusters,
    spoofing,
    hosts,
    virtualservice,
    destinationrule,
    telemetry,
    serviceentry,
)
RULES: tuple[Rule, ...] = tuple(rule for part in PARTS for rule in part.RULES)


class Linted(msgspec.Struct, frozen=True):
    """What was looked at, and what is wrong with it."""

    findings: tuple[Finding, ...]
    """By place."""
    resources: int
    files: int


def lint(sources: Sequence[tuple[str, str]], problems: Sequence[Problem] = ()) -> Linted:
    """What is wrong with the manifests in ``sources``, pairs of (name, text), taken together.

    Pure. ``problems``: of files that could not be read.
    """
    resources, unreadable = read(sources)
    mesh = Mesh(resources)
    found = {finding for part in PARTS for finding in part.check(mesh)}
    found |= {of_problem(problem, kinds.UNREADABLE.code) for problem in (*problems, *unreadable)}
    return Linted(tuple(sorted(found)), len(resources), len(sources))


def markdown() -> str:
    """The tables of ``docs/istio-lint.md``: one for each part, below what its module says of itself."""
    return "\n".join(f"{_heading(part)}\n\n{table(part.RULES)}" for part in PARTS)


def _heading(part: ModuleType) -> str:
    first, *rest = (part.__doc__ or "").strip().replace("``", "`").split("\n\n")
    return "\n\n".join((f"### {first.partition('. Floor 4')[0]}", *rest))

"""``extproc check``: what is wrong with policy files or Istio manifests, and what is in them."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path

from extproc.errors import PolicyProblems, Problem
from extproc.lint import findings
from extproc.lint.linter import lint
from extproc.policy.snapshot import Snapshot
from extproc.policyfile import loader

_STDIN = Path("-")


def run(paths: Sequence[Path], as_json: bool) -> int:
    """Prints every problem and a summary to stdout. The exit status: 1 where there is an error, warnings are none."""
    snapshot, problems = _load(paths)
    if as_json:
        json.dump(_report(snapshot, problems), sys.stdout, indent=2, ensure_ascii=False)
        sys.stdout.write("\n")
    else:
        for problem in problems:
            print(problem)
        print(_summary(snapshot, problems))
    return 0 if snapshot else 1


def istio(paths: Sequence[Path], as_json: bool, policies: Sequence[Path] = ()) -> int:
    """Prints what is wrong with the manifests at ``paths`` (``-``: stdin), taken together. Status as of ``run``.

    ``policies``: from which they should be rendered. Raises ``PolicyProblems``.
    """
    snapshot = loader.load(policies).snapshot if policies else None
    files = loader.read([path for path in paths if path != _STDIN])
    texts = [*files.texts, *([("<stdin>", sys.stdin.read())] if _STDIN in paths else [])]
    linted = lint(texts, files.problems, snapshot)
    if as_json:
        sys.stdout.write(findings.report(linted.findings, resources=linted.resources, files=linted.files))
    else:
        looked = f"{_count(linted.resources, 'resource')} in {_count(linted.files, 'file')}"
        sys.stdout.write(findings.text(linted.findings, looked))
    return 1 if findings.failed(linted.findings) else 0


def _load(paths: Sequence[Path]) -> tuple[Snapshot | None, Sequence[Problem]]:
    try:
        loaded = loader.load(paths)
    except PolicyProblems as found:
        return None, found.problems
    return loaded.snapshot, loaded.warnings


def _report(snapshot: Snapshot | None, problems: Sequence[Problem]) -> dict[str, object]:
    found = None
    if snapshot:
        found = {
            "policies": [policy.name for policy in snapshot.policies],
            "pools": [pool.name for pool in snapshot.pools],
            "models": [match.pattern for match in snapshot.patterns],
            "versions": sum(len(policy.versions) for policy in snapshot.policies),
        }
    return {"ok": snapshot is not None, "problems": [problem.as_dict() for problem in problems], "found": found}


def _summary(snapshot: Snapshot | None, problems: Sequence[Problem]) -> str:
    warnings = _count(sum(problem.warning for problem in problems), "warning")
    if snapshot is None:
        return f"{_count(sum(not problem.warning for problem in problems), 'error')}, {warnings}"
    versions = sum(len(policy.versions) for policy in snapshot.policies)
    models = [match.pattern for match in snapshot.patterns]
    shown = ", ".join(models[:5]) + (", ..." if len(models) > 5 else "")
    return (
        f"ok: {_count(len(snapshot.policies), 'policy', 'policies')}, {_count(versions, 'version')}, "
        f"{_count(len(snapshot.pools), 'GPU pool')}, {_count(len(models), 'model')} ({shown}), {warnings}"
    )


def _count(number: int, one: str, many: str = "") -> str:
    return f"{number} {one if number == 1 else many or one + 's'}"

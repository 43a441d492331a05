"""``extproc check``: what is wrong with policy files or Istio manifests, and what is in them."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from extproc.cli.shared_flags import add_locality_flag
from extproc.command_line.subcommand import Subcommands, command, policies
from extproc.errors import PolicyProblems, Problem, problem_counts

if TYPE_CHECKING:
    from extproc.policy.snapshot import Snapshot


def add(commands: Subcommands) -> None:
    """Adds the command and its flags."""
    check = command(
        commands,
        "check",
        run,
        "find every mistake in policy files, every trap in Istio manifests",
        """\
        examples:
          extproc check -f policy.yaml
          extproc check -f policies/ --json | jq '.problems[].message'
          extproc check -f policies/ --locality us-west1/a        for proxies there: is any GPU pool near
          extproc check --istio manifests/                        anybody's manifests, taken together
          extproc render istio -f policy.yaml | extproc check --istio -
          extproc check --istio manifests/ -f policy.yaml         and are they rendered from this policy

        Exits with 1 when there is an error; warnings alone exit with 0. docs/istio-lint.md has all codes.
        """,
    )
    check.set_defaults(misused=check.error)
    policies(check, required=False)
    check.add_argument(
        "--istio",
        type=Path,
        nargs="+",
        metavar="FILE",
        help="manifests (EnvoyFilter, VirtualService, …): files, directories, - for stdin",
    )
    add_locality_flag(check)
    check.add_argument("--json", action="store_true", help="the result as JSON on stdout")


def run(arguments: argparse.Namespace) -> int:
    """Prints what is wrong; returns the exit status. Raises ``PolicyProblems``."""
    if arguments.istio:
        if arguments.locality:
            arguments.misused("--locality does not go with --istio; check the policies (-f POLICY) with it apart")
        return check_istio(arguments.istio, arguments.json, arguments.file or ())
    if not arguments.file:
        arguments.misused("nothing to check; give policies (-f POLICY), Istio manifests (--istio FILE), or both")
    return check_policies(arguments.file, arguments.json, arguments.locality)


def check_policies(paths: Sequence[Path], as_json: bool, locality: str = "") -> int:
    """Prints every problem of policy files, for proxies at ``locality``, and a summary to stdout. Returns 1 where there
    is an error, else 0.
    """
    snapshot, problems = _load(paths, locality)
    if as_json:
        json.dump(_report(snapshot, problems), sys.stdout, indent=2, ensure_ascii=False)
        sys.stdout.write("\n")
    else:
        for problem in problems:
            print(problem)
        print(_summary(snapshot, problems))
    return 0 if snapshot else 1


def check_istio(paths: Sequence[Path], as_json: bool, policy_paths: Sequence[Path] = ()) -> int:
    """Prints what is wrong with the manifests at ``paths`` (``-``: stdin), linted together.

    ``policy_paths``: policies of which the manifests should be a rendering. Returns 1 where there is an error, else 0.
    Raises ``PolicyProblems``.
    """
    from extproc.lint import manifest_files, report
    from extproc.lint.linter import lint
    from extproc.policyfile import loader

    snapshot = loader.load(policy_paths).snapshot if policy_paths else None
    texts, problems = manifest_files.read(paths)
    linted = lint(texts, problems, snapshot)
    if as_json:
        sys.stdout.write(report.json_document(linted.findings, resources=linted.resources, files=linted.files))
    else:
        summary = f"{_count(linted.resources, 'resource')} in {_count(linted.files, 'file')}"
        if not linted.resources:
            print("warning: what was given holds no Kubernetes object: nothing was checked", file=sys.stderr)
        sys.stdout.write(report.text(linted.findings, summary))
    return 1 if report.failed(linted.findings) else 0


def _load(paths: Sequence[Path], locality: str) -> tuple[Snapshot | None, Sequence[Problem]]:
    from extproc.policyfile import loader

    try:
        loaded = loader.load(paths, locality=locality)
    except PolicyProblems as error:
        return None, error.problems
    return loaded.snapshot, loaded.warnings


def _report(snapshot: Snapshot | None, problems: Sequence[Problem]) -> dict[str, object]:
    contents = None
    if snapshot:
        contents = {
            "policies": [policy.name for policy in snapshot.policies],
            "pools": [pool.name for pool in snapshot.pools],
            "models": [match.pattern for match in snapshot.patterns],
            "versions": sum(len(policy.versions) for policy in snapshot.policies),
        }
    return {"ok": snapshot is not None, "problems": [problem.as_dict() for problem in problems], "found": contents}


def _summary(snapshot: Snapshot | None, problems: Sequence[Problem]) -> str:
    if snapshot is None:
        return problem_counts(problems)
    warnings = _count(len(problems), "warning")
    versions = sum(len(policy.versions) for policy in snapshot.policies)
    models = [match.pattern for match in snapshot.patterns]
    listed = ", ".join(models[:5]) + (", ..." if len(models) > 5 else "")
    return (
        f"ok: {_count(len(snapshot.policies), 'policy', 'policies')}, {_count(versions, 'version')}, "
        f"{_count(len(snapshot.pools), 'GPU pool')}, {_count(len(models), 'model')} ({listed}), {warnings}"
    )


def _count(number: int, one: str, many: str = "") -> str:
    return f"{number} {one if number == 1 else many or one + 's'}"

"""All rules over all files."""

from __future__ import annotations

from collections.abc import Sequence
from types import ModuleType

import msgspec

from extproc.errors import Problem
from extproc.lint import (
    destination_rule,
    envoy_filter_clusters,
    envoy_filter_ext_proc,
    envoy_filter_hosts,
    envoy_filter_placement,
    envoy_filter_spelling,
    header_spoofing,
    rendering_drift,
    resource_kinds,
    service_entry,
    telemetry,
    virtual_service,
)
from extproc.lint.findings import Finding, Rule, of_problem, table
from extproc.lint.manifest import read
from extproc.lint.mesh import Mesh
from extproc.policy.snapshot import Snapshot

PARTS = (
    resource_kinds,
    envoy_filter_placement,
    envoy_filter_spelling,
    envoy_filter_ext_proc,
    envoy_filter_clusters,
    header_spoofing,
    envoy_filter_hosts,
    virtual_service,
    destination_rule,
    telemetry,
    service_entry,
)
RULES: tuple[Rule, ...] = tuple(rule for part in PARTS for rule in part.RULES)


class Linted(msgspec.Struct, frozen=True):
    """What was looked at, and what is wrong with it."""

    findings: tuple[Finding, ...]
    """By place."""
    resources: int
    files: int


def lint(
    sources: Sequence[tuple[str, str]], problems: Sequence[Problem] = (), snapshot: Snapshot | None = None
) -> Linted:
    """What is wrong with the manifests in ``sources``, pairs of (name, text), taken together.

    Pure. ``problems``: of files that could not be read. ``view``: policies from which they should be rendered.
    """
    resources, unreadable = read(sources)
    mesh = Mesh(resources)
    found = {finding for part in PARTS for finding in part.check(mesh)}
    found |= set(rendering_drift.check(mesh, snapshot)) if snapshot else set()
    found |= {of_problem(problem, resource_kinds.UNREADABLE.code) for problem in (*problems, *unreadable)}
    return Linted(tuple(sorted(found)), len(resources), len(sources))


def markdown() -> str:
    """The tables of ``docs/istio-lint.md``: one for each part, below what its module says of itself."""
    return "\n".join(f"{_heading(part)}\n\n{table(part.RULES)}" for part in (*PARTS, rendering_drift))


def _heading(part: ModuleType) -> str:
    first, *rest = (part.__doc__ or "").strip().replace("``", "`").split("\n\n")
    return "\n\n".join((f"### {first.partition('. Floor 4')[0]}", *rest))

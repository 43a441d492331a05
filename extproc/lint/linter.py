"""All rules over all files."""

from __future__ import annotations

from collections.abc import Sequence
from types import ModuleType

import msgspec

from extproc.errors import Problem
from extproc.lint import (
    destination_rule,
    duplicate_objects,
    envoy_filter_chain,
    envoy_filter_clusters,
    envoy_filter_ext_proc,
    envoy_filter_hosts,
    envoy_filter_placement,
    envoy_filter_spelling,
    fieldnames,
    header_spoofing,
    processing_modes,
    rendering_drift,
    resource_kinds,
    service_entry,
    telemetry,
    virtual_service,
    virtual_service_routes,
)
from extproc.lint.findings import Finding, Rule, of_problem, table
from extproc.lint.manifest import read
from extproc.lint.mesh import Mesh
from extproc.policy.snapshot import Snapshot

PARTS = (
    resource_kinds,
    duplicate_objects,
    envoy_filter_placement,
    envoy_filter_chain,
    envoy_filter_spelling,
    envoy_filter_ext_proc,
    processing_modes,
    envoy_filter_clusters,
    header_spoofing,
    envoy_filter_hosts,
    virtual_service,
    virtual_service_routes,
    destination_rule,
    fieldnames,
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

    ``problems``: of files that could not be read. ``snapshot``: policies from which the manifests should be rendered.
    What is there several times with the same content counts once.
    """
    resources, unreadable = read(sources)
    mesh = Mesh(duplicate_objects.once(resources))
    found = {finding for part in PARTS for finding in part.check(mesh)}
    found |= set(rendering_drift.check(mesh, snapshot)) if snapshot else set()
    found |= {of_problem(problem, resource_kinds.UNREADABLE.code) for problem in (*problems, *unreadable)}
    return Linted(tuple(sorted(found)), len(mesh.resources), len(sources))


def markdown() -> str:
    """The tables of ``docs/istio-lint.md``: one for each part, below what its module says of itself."""
    return "\n".join(f"{_heading(part)}\n\n{table(part.RULES)}" for part in (*PARTS, rendering_drift))


def _heading(part: ModuleType) -> str:
    first, *rest = (part.__doc__ or "").strip().replace("``", "`").split("\n\n")
    return "\n\n".join((f"### {first.rstrip('.')}", *rest))

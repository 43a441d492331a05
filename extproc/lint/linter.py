"""``extproc check --istio``: all rules for Istio over all files."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from extproc.errors import Problem
from extproc.lint import (
    cluster_balancing,
    destination_rule,
    envoy_filter_access_logs,
    envoy_filter_clusters,
    envoy_filter_ext_proc,
    envoy_filter_fields,
    envoy_filter_hosts,
    envoy_filter_names,
    envoy_filter_order,
    envoy_filter_proxies,
    field_durations,
    field_names,
    header_spoofing,
    inference_pools,
    object_names,
    processing_modes,
    rendering_drift,
    resource_kinds,
    service_entry,
    telemetry,
    virtual_service_destinations,
    virtual_service_hosts,
    virtual_service_matches,
    virtual_service_route_actions,
    virtual_service_route_order,
    virtual_service_timeouts_and_retries,
)
from extproc.lint.findings import Finding, Rule, of_problem, table
from extproc.lint.mesh import Mesh, read
from extproc.lint.rule_modules import RuleModule, check, in_order
from extproc.policy.snapshot import Snapshot

MODULES: tuple[RuleModule[Mesh], ...] = (
    resource_kinds,
    object_names,
    envoy_filter_order,
    envoy_filter_proxies,
    envoy_filter_names,
    envoy_filter_fields,
    envoy_filter_ext_proc,
    processing_modes,
    envoy_filter_clusters,
    envoy_filter_access_logs,
    header_spoofing,
    envoy_filter_hosts,
    virtual_service_route_order,
    virtual_service_destinations,
    virtual_service_timeouts_and_retries,
    virtual_service_hosts,
    virtual_service_matches,
    virtual_service_route_actions,
    destination_rule,
    cluster_balancing,
    field_names,
    field_durations,
    telemetry,
    service_entry,
    inference_pools,
)
RULES: tuple[Rule, ...] = tuple(rule for module in MODULES for rule in module.RULES)


class LintResult(msgspec.Struct, frozen=True):
    """What was looked at, and what is wrong with it."""

    findings: tuple[Finding, ...]
    """By place, in the order of the files."""
    resources: int
    files: int


def lint(
    sources: Sequence[tuple[str, str]], problems: Sequence[Problem] = (), snapshot: Snapshot | None = None
) -> LintResult:
    """What is wrong with the manifests in ``sources``, pairs of (name, text), taken together.

    ``problems``: of files that could not be read. ``snapshot``: policies from which the manifests should be rendered.
    What is there several times with the same content counts once.
    """
    resources, unreadable = read(sources)
    mesh = Mesh(object_names.once(resources))
    found = check(MODULES, mesh)
    found += rendering_drift.check(mesh, snapshot) if snapshot else ()
    found += (of_problem(problem, resource_kinds.UNREADABLE.code) for problem in (*problems, *unreadable))
    ordered = in_order(found, (name for name, _ in sources))
    return LintResult(tuple(ordered), len(mesh.resources), len(sources))


def markdown() -> str:
    """The tables of ``docs/istio-lint.md``: one for each module, below its docstring."""
    modules = *((module.__doc__, module.RULES) for module in MODULES), (rendering_drift.__doc__, rendering_drift.RULES)
    return "\n".join(f"{_heading(docstring)}\n\n{table(rules)}" for docstring, rules in modules)


def _heading(docstring: str | None) -> str:
    first, *rest = (docstring or "").strip().replace("``", "`").split("\n\n")
    return "\n\n".join((f"### {first.rstrip('.')}", *rest))

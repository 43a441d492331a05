"""``linkerd-adapter lint``: all rules for Linkerd over all files."""

from __future__ import annotations

from collections.abc import Sequence

from extproc.errors import Problem
from extproc.lint.findings import Finding, Rule, of_problem, table
from extproc.lint.rule_modules import RuleModule, check, in_order
from linkerd_adapter.lint import (
    circuit_breaking,
    grpc_routes,
    inbound_routes,
    linkerd_annotations,
    objects,
    opaque_ports_and_protocols,
    picked_servers,
    rate_limits,
    regexes,
    request_loops,
    requests_past_routes,
    route_backends,
    route_fields,
    route_filters,
    route_matches,
    route_parents,
    route_precedence,
    route_status,
    service_profiles,
    timeouts_and_retries,
    traffic_splits,
)
from linkerd_adapter.lint.objects import Given

MODULES: tuple[RuleModule[Given], ...] = (
    route_fields,
    route_parents,
    inbound_routes,
    regexes,
    route_matches,
    route_precedence,
    grpc_routes,
    route_filters,
    route_backends,
    picked_servers,
    request_loops,
    opaque_ports_and_protocols,
    service_profiles,
    traffic_splits,
    rate_limits,
    requests_past_routes,
    timeouts_and_retries,
    linkerd_annotations,
    circuit_breaking,
    route_status,
)
RULES: tuple[Rule, ...] = tuple(
    sorted((*objects.RULES, *(rule for module in MODULES for rule in module.RULES)), key=lambda rule: rule.code)
)
"""Every rule, by its code."""


HEADINGS = {
    "0": "Reading, fields and limits",
    "1": "Parents: to what a route is attached",
    "2": "Matches: which requests a rule takes",
    "3": "Filters",
    "4": "Backends and weights",
    "5": "What keeps Linkerd from looking at routes",
    "6": "Timeouts, retries, circuit breaking",
    "7": "What a live route's status tells",
}
"""Of the tables in ``docs/linkerd-lint.md``, by the first digit of their codes."""


def lint(sources: Sequence[tuple[str, str]], problems: Sequence[Problem] = ()) -> tuple[list[Finding], Given]:
    """What is wrong in ``sources``, pairs of (name, text), by place; and what was looked at.

    ``problems``: of files that could not be read. Of several findings of one rule at one place, the first counts.
    """
    found = [of_problem(problem, objects.UNREADABLE.code) for problem in problems]
    resources = []
    for name, text in sources:
        of_file, unreadable = objects.read(name, text)
        resources += of_file
        found += unreadable
    given = Given(resources)
    found += check(MODULES, given)
    once = {(f.file, f.line, f.column, f.path, f.code): f for f in reversed(found)}
    return in_order(once.values(), (name for name, _ in sources)), given


def markdown() -> str:
    """The tables of ``docs/linkerd-lint.md``."""
    parts = []
    for digit, heading in HEADINGS.items():
        rules = [rule for rule in RULES if rule.code.removeprefix("LNK").startswith(digit)]
        parts.append(f"## {heading}\n\n{table(rules)}")
    return "\n".join(parts)

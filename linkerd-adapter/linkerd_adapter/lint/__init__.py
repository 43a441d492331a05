"""``linkerd-adapter lint``: what Linkerd would not do with routes, Services and profiles as their authors mean it.

A module for each subject: its rules, and `check`, which looks for them in
everything that was given. Pure: texts in, findings out, never an exception for any text.
"""

from __future__ import annotations

from collections.abc import Sequence

from extproc.lint.findings import Finding, Rule
from linkerd_adapter.lint import (
    inbound_routes,
    objects,
    protocols,
    route_backends,
    route_fields,
    route_filters,
    route_matches,
    route_parents,
    route_status,
    service_profiles,
    timeouts_and_retries,
    unmet_matches,
    workloads,
)
from linkerd_adapter.lint.objects import Given

SUBJECTS = (
    *(
        route_fields,
        route_parents,
        inbound_routes,
        route_matches,
        unmet_matches,
        route_filters,
        route_backends,
        protocols,
        service_profiles,
        workloads,
        timeouts_and_retries,
        route_status,
    ),
)
RULES: tuple[Rule, ...] = tuple(
    sorted((rule for subject in (objects, *SUBJECTS) for rule in subject.RULES), key=lambda rule: rule.code)
)
"""Every rule, by its code."""


def lint(sources: Sequence[tuple[str, str]]) -> tuple[list[Finding], Given]:
    """What is wrong in ``sources``, pairs of (name, text), by place; and what was looked at."""
    found: list[Finding] = []
    resources = []
    for name, text in sources:
        of_file, problems = objects.read(name, text)
        resources += of_file
        found += problems
    given = Given(resources)
    found += (finding for subject in SUBJECTS for finding in subject.check(given))
    order = {name: i for i, (name, _) in enumerate(sources)}
    once = {(f.file, f.line, f.column, f.path, f.code): f for f in reversed(found)}
    return sorted(once.values(), key=lambda f: (order.get(f.file, -1), f)), given

"""Modules of rules: running them over what was read, and putting what they find in order.

The linters for Istio (``linter``) and for Linkerd (``linkerd_adapter.lint.linter``) are each a tuple of such modules.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Protocol, TypeVar

from extproc.lint.findings import Finding, Rule

Cluster = TypeVar("Cluster", contravariant=True)
"""All that was read, to be judged together."""


class RuleModule(Protocol[Cluster]):
    """A module that holds rules and looks for what breaks them."""

    @property
    def RULES(self) -> Sequence[Rule]:  # noqa: N802
        """What ``check`` looks for."""
        ...

    def check(self, cluster: Cluster, /) -> Iterable[Finding]:
        """Every place where one of ``RULES`` is broken."""
        ...


def check(modules: Iterable[RuleModule[Cluster]], cluster: Cluster) -> list[Finding]:
    """What all ``modules`` find."""
    return [finding for module in modules for finding in module.check(cluster)]


def in_order(findings: Iterable[Finding], files: Iterable[str]) -> list[Finding]:
    """Equal findings once, by their places: in the order of ``files``; those of other files, unreadable ones, first."""
    position = {name: i for i, name in enumerate(files)}
    return sorted(set(findings), key=lambda finding: (position.get(finding.file, -1), finding))

"""What a linter or the doctor finds, and the rules behind it.

``extproc check --istio``, ``extproc doctor`` and ``linkerd-adapter lint`` share these, so that one reader (a person,
CI, an editor) understands the three. ``report`` prints them.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal, TypeAlias

import msgspec

from extproc.errors import Problem

Severity: TypeAlias = Literal["error", "warning"]
"""error: it does not do what it was written for, or it harms. warning: it works, but probably not as it is meant."""


class Finding(msgspec.Struct, frozen=True, order=True):
    """One thing that is wrong: where it is, what it is, what to do. Ordered by place."""

    file: str
    """A path as it was given, or the address of what was asked."""
    line: int
    """1-based; 0 where there is no line (something is missing as a whole, or was not read from a file)."""
    column: int
    path: str
    """Where in the document, as in ``spec.http[1].route``; empty for the document as a whole."""
    code: str
    """Stable: a rule that is gone leaves its code unused."""
    severity: Severity
    message: str
    remedy: str

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}:{self.column}" if self.line else self.file
        subject = f" {self.path}:" if self.path else ""
        return f"{place}: {self.severity} {self.code}:{subject} {self.message}; {self.remedy}"

    def as_dict(self) -> dict[str, Any]:
        """The same as plain data, for JSON output."""
        return msgspec.structs.asdict(self)


class Rule(msgspec.Struct, frozen=True):
    """A trap that is looked for. ``table`` makes a page's table of these, so all texts are Markdown."""

    code: str
    severity: Severity
    title: str
    """What is wrong, in one line."""
    why: str
    """What comes of it."""
    remedy: str
    """What to do, as an imperative without a full stop."""

    def at(self, file: str, line: int, column: int = 0, path: str = "", message: str = "", remedy: str = "") -> Finding:
        """This rule broken at a place; ``message`` and ``remedy`` where the case allows to be more exact."""
        return Finding(file, line, column, path, self.code, self.severity, message or self.title, remedy or self.remedy)


def of_problem(problem: Problem, code: str) -> Finding:
    """What is wrong with a file before any rule could look at it, as a finding."""
    p = problem
    severity: Severity = "warning" if p.warning else "error"
    return Finding(p.file, p.line, p.column, p.path, code, severity, p.message, p.remedy)


def table(rules: Iterable[Rule]) -> str:
    """Markdown: every rule with what comes of it and what to do."""
    head = ("| code | severity | what is wrong | what comes of it | what to do |", "|-|-|-|-|-|")
    rows = ((f"`{rule.code}`", rule.severity, rule.title, rule.why, rule.remedy) for rule in rules)
    cells = ((cell.replace("|", "\\|").replace("\n", " ") for cell in row) for row in rows)
    return "\n".join((*head, *(f"| {' | '.join(row)} |" for row in cells))) + "\n"

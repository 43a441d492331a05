"""Findings as text and as JSON, as ``extproc check --istio``, ``extproc doctor`` and ``linkerd-adapter lint`` print."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence

from extproc.lint.findings import Finding


def text(findings: Sequence[Finding], summary: str) -> str:
    """A line for each, then their count; where there is none, ``summary``, which says what was looked at."""
    lines = [str(finding) for finding in findings]
    return "\n".join([*lines, _count(findings) if findings else f"ok: {summary}", ""])


def json_document(findings: Sequence[Finding], **more: object) -> str:
    """JSON: ``ok`` (no error; warnings are none), ``findings``, and ``more``."""
    document = {"ok": not failed(findings), "findings": [finding.as_dict() for finding in findings], **more}
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"


def failed(findings: Iterable[Finding]) -> bool:
    """Whether there is an error among them; warnings are none."""
    return any(finding.severity == "error" for finding in findings)


def _count(findings: Sequence[Finding]) -> str:
    """As in ``2 errors, 1 warning``."""
    errors = sum(finding.severity == "error" for finding in findings)
    numbers = ((errors, "error"), (len(findings) - errors, "warning"))
    return ", ".join(f"{number} {word}{'s' * (number != 1)}" for number, word in numbers)

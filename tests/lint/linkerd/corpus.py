"""The corpus of manifests: a bad one names its codes in its first line and marks the lines of findings ``# here``."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from textwrap import dedent

from linkerd_adapter.lint.linter import lint

from extproc.lint.findings import Finding, Rule

HERE = Path(__file__).parent
BAD, GOOD = sorted((HERE / "bad").glob("*.yaml")), sorted((HERE / "good").glob("*.yaml"))


PARENT = '{group: "", kind: Service, name: llm, namespace: ai, port: 80}'


def findings(text: str) -> list[Finding]:
    """What the linter finds in one manifest."""
    return list(lint([("a.yaml", dedent(text))])[0])


def codes(text: str, rules: Iterable[Rule]) -> list[str]:
    """The codes of its findings, of ``rules`` only, sorted."""
    own = {rule.code for rule in rules}
    return sorted(finding.code for finding in findings(text) if finding.code in own)


def codes_of(file: Path) -> list[str]:
    """The codes that a bad manifest names in its first line."""
    return re.findall(r"LNK\d{3}", file.read_text().splitlines()[0])


def bad(rules: Iterable[Rule]) -> list[Path]:
    """The bad manifests that have findings of ``rules``."""
    own = {rule.code for rule in rules}
    return [file for file in BAD if own & set(codes_of(file))]


def check(file: Path) -> None:
    """Holds the findings in a bad manifest against its first line and its marks."""
    text = file.read_text()
    found = findings(text)
    shown = "\n".join(map(str, found))
    assert sorted({finding.code for finding in found}) == codes_of(file), shown
    lines = [number for number, line in enumerate(text.splitlines(), 1) if line.endswith("# here")]
    assert sorted({finding.line for finding in found}) == lines, shown


def route(rules: str, *, parents: str = PARENT, spec: str = "", kind: str = "HTTPRoute", metadata: str = "") -> str:
    """An HTTPRoute ``llm`` in ``ai``; ``rules`` and ``parents``: items of the lists, in YAML."""
    return (
        f"---\napiVersion: gateway.networking.k8s.io/v1\nkind: {kind}\n"
        f"metadata: {{name: llm, namespace: ai{metadata}}}\n"
        f"spec: {{parentRefs: [{parents}], rules: [{rules}]{spec}}}\n"
    )


def service(name: str = "llm", spec: str = "ports: [{port: 80}]", metadata: str = "") -> str:
    """A Service in ``ai``."""
    return (
        f"---\napiVersion: v1\nkind: Service\nmetadata: {{name: {name}, namespace: ai{metadata}}}\nspec: {{{spec}}}\n"
    )


def backend(name: str, more: str = "") -> str:
    """A backendRef to port 80 of a Service in ``ai``."""
    return f"{{name: {name}, namespace: ai, port: 80{more}}}"

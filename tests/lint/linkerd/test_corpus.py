"""The corpus: every bad manifest has exactly its findings, on exactly its lines; good ones have none."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from linkerd_adapter.lint import RULES, lint

HERE = Path(__file__).parent
BAD, GOOD = sorted((HERE / "bad").glob("*.yaml")), sorted((HERE / "good").glob("*.yaml"))


@pytest.mark.parametrize("file", BAD, ids=lambda file: file.stem)
def test_a_bad_manifest_has_the_findings_of_its_first_line_where_it_says_here(file: Path) -> None:
    text = file.read_text()
    found, _ = lint([(file.name, text)])
    wanted = re.findall(r"LNK\d{3}", text.splitlines()[0])
    assert sorted({finding.code for finding in found}) == wanted, "\n".join(map(str, found))
    lines = [number for number, line in enumerate(text.splitlines(), 1) if line.endswith("# here")]
    assert sorted({finding.line for finding in found}) == lines, "\n".join(map(str, found))


@pytest.mark.parametrize("file", GOOD, ids=lambda file: file.stem)
def test_nothing_is_said_of_a_good_manifest(file: Path) -> None:
    found, cluster = lint([(file.name, file.read_text())])
    assert not found, "\n".join(map(str, found))
    assert cluster.resources


def test_every_rule_has_a_bad_manifest_of_its_own() -> None:
    shown = {code for file in BAD for code in re.findall(r"LNK\d{3}", file.read_text().splitlines()[0])}
    assert shown == {rule.code for rule in RULES}

"""The corpus: every bad manifest has exactly its findings, on exactly its lines; good ones have none."""

from __future__ import annotations

from pathlib import Path

import pytest
from linkerd_adapter.lint.linter import RULES, lint

from tests.lint.linkerd.corpus import BAD, GOOD, check, codes_of


@pytest.mark.parametrize("file", BAD, ids=lambda file: file.stem)
def test_a_bad_manifest_has_the_findings_of_its_first_line_where_it_says_here(file: Path) -> None:
    check(file)


@pytest.mark.parametrize("file", GOOD, ids=lambda file: file.stem)
def test_nothing_is_said_of_a_good_manifest(file: Path) -> None:
    found, cluster = lint([(file.name, file.read_text())])
    assert not found, "\n".join(map(str, found))
    assert cluster.resources


def test_every_rule_has_a_bad_manifest_of_its_own() -> None:
    assert {code for file in BAD for code in codes_of(file)} == {rule.code for rule in RULES}

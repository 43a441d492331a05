"""The rules as a table: stable codes, one place for each, and the page that is made of them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from linkerd_adapter.lint import HEADINGS, MODULES, RULES, markdown, objects

from extproc.lint.findings import Rule

ROOT = Path(__file__).parents[3]


def test_codes_are_distinct_and_in_order() -> None:
    codes = [rule.code for rule in RULES]
    assert len(codes) == len(set(codes))
    for rules in (objects.RULES, *(module.RULES for module in MODULES)):
        own = [rule.code for rule in rules]
        assert own == sorted(own)


@pytest.mark.parametrize("subject", [objects, *MODULES], ids=lambda subject: subject.__name__)
def test_every_rule_of_a_subject_is_in_its_table(subject: object) -> None:
    rules = [value for value in vars(subject).values() if isinstance(value, Rule)]
    assert len(rules) == len(subject.RULES)  # type: ignore[attr-defined]


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.code)
def test_a_rule_tells_what_comes_of_it_and_what_to_do(rule: Rule) -> None:
    assert re.fullmatch(r"LNK\d{3}", rule.code)
    assert rule.code[3] in HEADINGS
    assert rule.why.endswith(".")
    assert not rule.title.endswith(".")
    assert not rule.remedy.endswith(".")


def test_the_page_is_the_rules() -> None:
    page = markdown()
    assert all(page.count(f"| `{rule.code}` |") == 1 for rule in RULES)

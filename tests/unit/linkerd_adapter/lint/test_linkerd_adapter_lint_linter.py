"""The linter as a whole: stable codes, each rule in its module's table, findings sorted by place and given once."""

from __future__ import annotations

import re

import pytest
from linkerd_adapter.lint import objects
from linkerd_adapter.lint.linter import HEADINGS, MODULES, RULES, lint, markdown

from extproc.lint.findings import Rule
from tests.lint.linkerd.corpus import PARENT, route, service


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


TWO_PARENTS = route("{matches: {}}", parents=f"{PARENT}, {PARENT.replace('80', '81')}")


def test_findings_are_sorted_by_file_and_place_and_given_once() -> None:
    """Files in the order in which they came, not by name; a place that two parents lead to is told of once."""
    found, _ = lint([("b.yaml", TWO_PARENTS), ("a.yaml", "x: ["), ("c.yaml", "- 1")])
    assert [finding.file for finding in found if finding.code != "LNK205"] == ["b.yaml", "a.yaml", "c.yaml"]
    places = [(finding.file, finding.line, finding.column, finding.code) for finding in found]
    assert len(set(places)) == len(places)
    of_b = [(finding.line, finding.column) for finding in found if finding.file == "b.yaml"]
    assert of_b == sorted(of_b)


def test_what_was_looked_at_is_given_back() -> None:
    found, given = lint([("a.yaml", service("llm")), ("b.yaml", route("{}"))])
    assert found == []
    assert [resource.kind for resource in given.resources] == ["Service", "HTTPRoute"]
    assert lint([])[0] == []


def test_the_page_is_the_rules() -> None:
    page = markdown()
    assert all(page.count(f"| `{rule.code}` |") == 1 for rule in RULES)
    assert re.findall(r"^\| `(LNK\d{3})` \|", page, re.MULTILINE) == [rule.code for rule in RULES]


def test_a_row_has_the_title_why_and_remedy_of_its_rule() -> None:
    rows = {line.split("`")[1]: line for line in markdown().splitlines() if line.startswith("| `LNK")}
    for rule in RULES:
        row = rows[rule.code].replace("\\|", "|")
        assert rule.severity in row
        assert all(text in row for text in (rule.title, rule.why, rule.remedy)), rule.code


def test_each_digit_has_a_heading_with_its_rules_below() -> None:
    sections = re.split(r"^## ", markdown(), flags=re.MULTILINE)[1:]
    digits = [set(re.findall(r"^\| `LNK(\d)", section, re.MULTILINE)) for section in sections]
    assert digits == [{str(digit)} for digit in range(8)]

"""``docs/linkerd-lint.md``: every rule once, under the heading of its digit, in the order of codes."""

from __future__ import annotations

import re

from linkerd_adapter.lint import RULES
from linkerd_adapter.lint.page import markdown


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
    assert [found for found in digits if found] == [{str(digit)} for digit in range(8)]
    assert digits[-1] == set(), "what no manifest can tell has no codes"


def test_the_page_says_that_it_is_generated() -> None:
    assert markdown().splitlines()[2].startswith("<!-- made by `make docs`")

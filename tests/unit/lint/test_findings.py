"""Findings: their order, their printed forms, the table of rules."""

from __future__ import annotations

from extproc.errors import Problem
from extproc.lint import findings
from extproc.lint.findings import Rule, of_problem

LATE = Rule("AIM901", "error", "it comes late", "Nobody waits.", "come early")
PALE = Rule("AIM902", "warning", "it is pale", "It is not seen.", "paint it")


def test_a_finding_says_where_what_and_what_to_do() -> None:
    assert str(LATE.at("a.yaml", 3, 5, "spec.x")) == "a.yaml:3:5: error AIM901: spec.x: it comes late; come early"
    exact = PALE.at("a.yaml", 0, message="this one is pale", remedy="paint it blue")
    assert str(exact) == "a.yaml: warning AIM902: this one is pale; paint it blue"


def test_findings_are_in_the_order_of_their_places() -> None:
    first, second, third = LATE.at("a", 2, 1), PALE.at("a", 2, 7), PALE.at("b", 1, 1)
    assert sorted([third, second, first]) == [first, second, third]


def test_a_problem_of_reading_becomes_a_finding() -> None:
    problem = Problem("a.yaml", 1, 2, "", "is no YAML", "write YAML")
    assert str(of_problem(problem, "AIM900")) == "a.yaml:1:2: error AIM900: is no YAML; write YAML"
    assert of_problem(Problem("a", 1, 2, "", "m", "r", warning=True), "AIM900").severity == "warning"


def test_the_table_has_a_row_for_each_rule() -> None:
    barred = Rule("AIM903", "error", "`a|b`", "Two\nlines.", "none")
    head, _, pale, last = findings.table([PALE, barred]).splitlines()
    assert head == "| code | severity | what is wrong | what comes of it | what to do |"
    assert pale == "| `AIM902` | warning | it is pale | It is not seen. | paint it |"
    assert last == r"| `AIM903` | error | `a\|b` | Two lines. | none |"

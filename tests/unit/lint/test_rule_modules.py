"""Modules of rules: that all run, and in which order their findings come."""

from __future__ import annotations

from collections.abc import Iterator

from extproc.lint.findings import Finding, Rule
from extproc.lint.rule_modules import check, in_order

LATE = Rule("AIM901", "error", "it comes late", "Nobody waits.", "come early")
PALE = Rule("AIM902", "warning", "it is pale", "It is not seen.", "paint it")


class Words:
    """A module that finds a word."""

    def __init__(self, rule: Rule) -> None:
        self.RULES = (rule,)

    def check(self, cluster: str, /) -> Iterator[Finding]:
        """Where the word is."""
        if (column := cluster.find(self.RULES[0].title.split()[-1])) >= 0:
            yield self.RULES[0].at("a", 1, column)


def test_what_all_modules_find() -> None:
    assert [f.code for f in check([Words(LATE), Words(PALE)], "pale and late")] == ["AIM901", "AIM902"]
    assert [f.code for f in check([Words(LATE), Words(PALE)], "late")] == ["AIM901"]
    assert check([], "late") == []


def test_findings_are_in_the_order_of_files_lines_and_columns() -> None:
    found = [PALE.at("a", 2), LATE.at("b", 3, 2), PALE.at("b", 3, 1), LATE.at("b", 1), LATE.at("gone", 0)]
    ordered = in_order(found, ["b", "a"])
    assert [(f.file, f.line, f.column) for f in ordered] == [
        ("gone", 0, 0),
        ("b", 1, 0),
        ("b", 3, 1),
        ("b", 3, 2),
        ("a", 2, 0),
    ]


def test_the_same_twice_is_told_once_and_another_message_is_another_finding() -> None:
    found = [LATE.at("a", 1), LATE.at("a", 1), LATE.at("a", 1, message="it comes later")]
    assert len(in_order(iter(found), iter(["a"]))) == 2

"""Findings as text and as JSON."""

from __future__ import annotations

import json

from extproc.lint import report
from extproc.lint.findings import Rule

LATE = Rule("AIM901", "error", "it comes late", "Nobody waits.", "come early")
PALE = Rule("AIM902", "warning", "it is pale", "It is not seen.", "paint it")


def test_text_ends_with_the_count() -> None:
    found = [LATE.at("a", 2, 1), PALE.at("a", 3, 1), PALE.at("a", 4, 1)]
    assert report.text(found, "all of it").splitlines() == [*map(str, found), "1 error, 2 warnings"]
    assert report.text([], "2 resources") == "ok: 2 resources\n"


def test_json_is_ok_without_errors_and_only_then() -> None:
    warned = json.loads(report.json_document([PALE.at("a", 1, 2, "p")], resources=1))
    assert warned == {
        "ok": True,
        "findings": [
            {
                "file": "a",
                "line": 1,
                "column": 2,
                "path": "p",
                "code": "AIM902",
                "severity": "warning",
                "message": "it is pale",
                "remedy": "paint it",
            }
        ],
        "resources": 1,
    }
    assert json.loads(report.json_document([LATE.at("a", 1)]))["ok"] is False


def test_one_is_counted_in_the_singular_and_none_in_the_plural() -> None:
    assert report.text([PALE.at("a", 1)], "").splitlines()[-1] == "0 errors, 1 warning"
    assert report.text([LATE.at("a", 1), LATE.at("a", 2)], "").splitlines()[-1] == "2 errors, 0 warnings"


def test_json_keeps_letters_that_are_not_ascii() -> None:
    assert "größer" in report.json_document([LATE.at("a", 1, message="größer")])


def test_warnings_alone_do_not_fail() -> None:
    assert not report.failed([])
    assert not report.failed([PALE.at("a", 1)])
    assert report.failed([PALE.at("a", 1), LATE.at("a", 2)])

"""What an error says, as text and as data."""

from __future__ import annotations

import pytest

from extproc.errors import PolicyProblems, Problem, Rejected, Unreadable, cause, problem_counts

WEIGHT = Problem("policy.yaml", 7, 13, "spec.versions[0].weight", "-1 is below 0", "give a weight from 0 up")


@pytest.mark.parametrize(
    ("problem", "text"),
    [
        (
            WEIGHT,
            "policy.yaml:7:13: error: spec.versions[0].weight: -1 is below 0; give a weight from 0 up",
        ),
        (
            Problem("p.yaml", 1, 1, "", "no versions", "name two", warning=True),
            "p.yaml:1:1: warning: no versions; name two",
        ),
        (
            Problem("p.yaml", 0, 0, "", "there is no such file", "look"),
            "p.yaml: error: there is no such file; look",
        ),
    ],
)
def test_a_problem_says_where_what_and_what_to_do(problem: Problem, text: str) -> None:
    assert str(problem) == text


@pytest.mark.parametrize(
    ("errors", "warnings", "said"),
    [(0, 1, "0 errors, 1 warning"), (1, 0, "1 error, 0 warnings"), (2, 2, "2 errors, 2 warnings")],
)
def test_counts(errors: int, warnings: int, said: str) -> None:
    warning = Problem("p.yaml", 1, 1, "", "no versions", "name two", warning=True)
    assert problem_counts([*[WEIGHT] * errors, *[warning] * warnings]) == said


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (ConnectionRefusedError(111, "Connection refused"), "Connection refused"),
        (OSError("its name can't be looked up"), "its name can't be looked up"),
        (TimeoutError(), "TimeoutError"),
        (ValueError("no port"), "no port"),
    ],
)
def test_a_cause_has_no_number(error: Exception, said: str) -> None:
    assert cause(error) == said


def test_a_problem_as_data() -> None:
    assert WEIGHT.as_dict() == {
        "file": "policy.yaml",
        "line": 7,
        "column": 13,
        "path": "spec.versions[0].weight",
        "message": "-1 is below 0",
        "remedy": "give a weight from 0 up",
        "warning": False,
    }


def test_policy_problems_keep_all_and_tell_all() -> None:
    problems = PolicyProblems([WEIGHT, WEIGHT])
    assert problems.problems == (WEIGHT, WEIGHT)
    assert str(problems) == f"{WEIGHT}\n{WEIGHT}"


def test_what_a_client_is_told() -> None:
    rejected = Rejected(413, "request_too_large", "The body is too large.")
    assert (rejected.status, rejected.code, rejected.message) == (413, "request_too_large", str(rejected))
    assert Unreadable("no_model").reason == "no_model"

"""`weightsFrom`: which route, and what it calls the versions."""

from __future__ import annotations

import re

import pytest

from extproc.policy.weights_from import HTTP_ROUTE, VIRTUAL_SERVICE, WeightsFrom
from tests.house.tree import ROOT
from tests.policy_documents import found, load_texts, policy, policy_of

VERSIONS = (
    "versions: [{name: v1, weight: 1}, {name: v2, weight: 0, match: [{headers: {a: b}}]}, {name: m, mirror: 5}]\n"
)
UNFOLLOWED = "only the controller of a cluster follows routes: the weights are those that stand here"


@pytest.mark.parametrize(("field", "kind"), [("httpRoute", HTTP_ROUTE), ("virtualService", VIRTUAL_SERVICE)])
def test_a_route(field: str, kind: str) -> None:
    spec = f"{VERSIONS}weightsFrom: {{{field}: chat, backends: {{v1: chat-primary, v2: chat-canary}}}}"
    (read,) = load_texts([("policy.yaml", policy(spec))]).snapshot.policies
    assert read.weights_from == WeightsFrom(kind, "chat", (("v1", "chat-primary"), ("v2", "chat-canary")))
    assert policy_of(VERSIONS).weights_from is None


def test_a_file_says_that_nobody_follows_it() -> None:
    (problem,) = found(policy(f"{VERSIONS}weightsFrom: {{httpRoute: chat, backends: {{v1: a, v2: b}}}}"))
    assert (problem.warning, problem.path, problem.message) == (True, "spec.weightsFrom", UNFOLLOWED)


@pytest.mark.parametrize(
    ("written", "told"),
    [
        ("{backends: {v1: a}}", "spec.weightsFrom: names no route"),
        ("{httpRoute: a, virtualService: b, backends: {v1: a}}", "spec.weightsFrom: names two routes"),
        ("{httpRoute: a}", "spec.weightsFrom: has no backends"),
        ("{httpRoute: a, backends: {}}", "spec.weightsFrom.backends: is empty"),
        ("{httpRoute: A_b, backends: {v1: a}}", "spec.weightsFrom.httpRoute: "),
        ("{httpRoute: a, backends: {v1: a b}}", "spec.weightsFrom.backends.v1: "),
        ("{httpRoute: a, backends: {v3: a}}", 'spec.weightsFrom.backends.v3: no version named "v3" answers'),
        ("{httpRoute: a, backends: {m: a}}", 'spec.weightsFrom.backends.m: no version named "m" answers'),
        ("{httpRoute: a, backends: {v1: a, v2: a}}", "spec.weightsFrom.backends.v2: is what v1 has, too"),
        ("a", "spec.weightsFrom: "),
    ],
)
def test_what_is_wrong(written: str, told: str) -> None:
    problems = [problem for problem in found(policy(f"{VERSIONS}weightsFrom: {written}")) if not problem.warning]
    assert problems
    assert f"{problems[0].path}: {problems[0].message}".startswith(told)


def test_a_name_that_is_none_is_no_other_versions() -> None:
    wrong, twice = found(policy(f"{VERSIONS}weightsFrom: {{httpRoute: a, backends: {{v1: A_b, v2: b, v3: b}}}}"))
    assert wrong.path == "spec.weightsFrom.backends.v1"
    assert (twice.path, twice.message) == ("spec.weightsFrom.backends.v3", "is what v2 has, too")


@pytest.mark.parametrize("broken", ["weightsFrom: {httpRoute: a}", "rollout: {to: v2}"])
def test_a_version_of_weight_0_is_not_doubted_where_what_may_choose_it_is_wrong(broken: str) -> None:
    problems = found(policy(f"versions: [{{name: v1, weight: 1}}, {{name: v2, weight: 0}}]\n{broken}"))
    assert problems
    assert not [problem for problem in problems if problem.warning]


def test_a_rollout_beside_it() -> None:
    rollout = "rollout: {to: v2, guards: [{metric: errors, max: 1%}]}\n"
    spec = f"{VERSIONS}{rollout}weightsFrom: {{httpRoute: a, backends: {{v1: a, v2: b}}}}"
    (problem,) = [one for one in found(policy(spec)) if not one.warning]
    assert problem.message == "the rollout says the weights, too"


def test_the_example_of_the_docs_is_taken() -> None:
    text = (ROOT / "docs" / "rollouts.md").read_text()
    (example,) = re.findall(r"<!-- weights -->\n```yaml\n(.*?)```", text, re.DOTALL)
    assert [problem.message for problem in found(example)] == [UNFOLLOWED]

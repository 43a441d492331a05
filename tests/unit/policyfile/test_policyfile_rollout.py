"""Rollouts in a policy file: what they mean, and every way in which they are wrong."""

from __future__ import annotations

import re

import pytest

from extproc import yamldoc
from extproc.policy.rollout_plan import (
    DEFAULT_PROMETHEUS,
    ERRORS,
    EXPONENTIAL_STEPS,
    FIRST_TOKEN,
    OUTPUT_TOKENS,
    PER_TOKEN,
    Guard,
    RolloutPlan,
)
from extproc.policyfile import model_inference_policy
from extproc.policyfile.fields import Field
from tests.house.tree import ROOT
from tests.policy_documents import found, policy, policy_of, said

GUARD = "guards: [{metric: errors, max: 1%}]"
VERSIONS = "versions: [{name: v1, weight: 9}, {name: v2, weight: 0}, {name: m, mirror: 5}]\n"
EVERYTHING = """\
versions: [{name: v1}, {name: v2}]
rollout:
  to: v2
  steps: [1, 50, 100]
  interval: 1m
  minRequests: 50
  guards:
  - {metric: errors, max: 0.5%}
  - {metric: timeToFirstToken, quantile: 95, max: 500ms}
  - {metric: timePerOutputToken, quantile: 50, relativeTo: v1, maxRatio: 1.2}
  - {metric: outputTokens, quantile: 50, relativeTo: v1, minRatio: 0.5}
  - {metric: outputTokens, quantile: 10, min: 20}
  - {promql: "quality{version='v2'}", min: 0.8, max: 2}
  onFailure: pause
  prometheus: https://prometheus:9090/p/
"""


def rollout(text: str) -> str:
    return policy(f"{VERSIONS}rollout: {{{text}}}")


def test_everything_that_can_be_said() -> None:
    assert policy_of(EVERYTHING).rollout == RolloutPlan(
        "v2",
        (
            Guard(metric=ERRORS, maximum=0.005),
            Guard(metric=FIRST_TOKEN, quantile=0.95, maximum=0.5),
            Guard(metric=PER_TOKEN, quantile=0.5, relative_to="v1", max_ratio=1.2),
            Guard(metric=OUTPUT_TOKENS, quantile=0.5, relative_to="v1", min_ratio=0.5),
            Guard(metric=OUTPUT_TOKENS, quantile=0.1, minimum=20),
            Guard(promql="quality{version='v2'}", minimum=0.8, maximum=2),
        ),
        (1, 50, 100),
        60,
        50,
        rolls_back=False,
        prometheus="https://prometheus:9090/p",
    )


def test_defaults_and_the_share_before_it_begins() -> None:
    read = policy_of(f"{VERSIONS}rollout: {{to: v2, {GUARD}}}")
    assert read.rollout == RolloutPlan("v2", (Guard(metric=ERRORS, maximum=0.01),))
    assert [(version.name, version.weight) for version in read.versions] == [("v1", 1), ("v2", 0), ("m", 0)]
    exponential = policy_of(f"{VERSIONS}rollout: {{to: v2, steps: {{ratio: exponential}}, {GUARD}}}").rollout
    assert exponential is not None
    assert exponential.steps == EXPONENTIAL_STEPS


def test_a_new_version_needs_no_weight() -> None:
    assert found(policy(f"versions: [{{name: v1, weight: 9}}, {{name: v2}}]\nrollout: {{to: v2, {GUARD}}}")) == []


def test_a_query_without_a_server_asks_the_usual_one() -> None:
    (problem,) = found(rollout("to: v2, guards: [{promql: up, min: 1}]"))
    assert problem.warning
    assert DEFAULT_PROMETHEUS in problem.message


def test_requests_without_a_key_are_no_part_of_it() -> None:
    text = f"{VERSIONS}default: v1\nsticky: {{header: x-user}}\nrollout: {{to: v2, {GUARD}}}"
    (problem,) = found(policy(text))
    assert said(problem).startswith("warning 8 spec.rollout: requests without a key stay on v1")


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("to: v2", ": has no guards; say what must hold of it: guards: [{metric: errors, max: 1%}]"),
        ("to: v3, guards: [{metric: errors}]", '.to: no version named "v3" is declared; use one of: v1, v2'),
        ("to: m", ".to: the version m is a mirror: it answers nobody; name a version that answers"),
        (GUARD, ": has no to; name the new version: to: v2"),
        (f"to: v3, {GUARD}", '.to: no version named "v3" is declared; use one of: v1, v2'),
        (f"to: m, {GUARD}", ".to: the version m is a mirror: it answers nobody; name a version that answers"),
        (f"to: v2, step: [1], {GUARD}", '.step: is not a known field; did you mean "steps"?'),
        (f"to: v2, steps: [5, 1, 100], {GUARD}", ".steps: the steps do not ascend; "),
        (f"to: v2, steps: [5, 5, 100], {GUARD}", ".steps: the steps do not ascend; "),
        (
            f"to: v2, steps: [1, 50], {GUARD}",
            ".steps: the last step is 50; end with 100: the rollout is completed there",
        ),
        (f"to: v2, steps: [0, 100], {GUARD}", ".steps[0]: 0 is out of range; give a number from 1 to 100"),
        (f"to: v2, steps: [], {GUARD}", ".steps: is an empty list; give an item, or remove the field"),
        (f"to: v2, steps: {{ratio: fibonacci}}, {GUARD}", '.steps.ratio: "fibonacci" is none of exponential; '),
        (f"to: v2, interval: 5, {GUARD}", '.interval: "5" is not a duration; add a unit: 5ms or 5s'),
        (f"to: v2, minRequests: 0, {GUARD}", ".minRequests: 0 is out of range; "),
        (f"to: v2, onFailure: abort, {GUARD}", '.onFailure: "abort" is none of rollback, pause; '),
        (
            f"to: v2, prometheus: prometheus, {GUARD}",
            '.prometheus: "prometheus" can\'t be asked: it does not begin with',
        ),
        (f"to: v2, prometheus: 'http://a:9090?b', {GUARD}", '.prometheus: "http://a:9090?b" is no base URL; '),
        (
            f"to: v2, prometheus: 'http://[abc', {GUARD}",
            '.prometheus: "http://[abc" can\'t be asked: Invalid IPv6 URL; ',
        ),
        (f"to: v2, prometheus: 'http://a:x', {GUARD}", '.prometheus: "http://a:x" can\'t be asked: '),
    ],
)
def test_problems(text: str, problem: str) -> None:
    assert any(f" spec.rollout{problem}" in said(one) for one in found(rollout(text))), found(rollout(text))


@pytest.mark.parametrize(
    ("guard", "problem"),
    [
        ("", ": has neither metric nor promql; "),
        ("metric: errors, promql: up, max: 1%", ": has metric and promql; "),
        ("metric: latency, max: 1s", '.metric: "latency" is none of errors, timeToFirstToken, '),
        ("metric: errors", ": has no max; give the share that may fail: max: 1%"),
        ("metric: errors, max: 0.01", '.max: "0.01" is no percentage; write it with its sign: 1%'),
        ("metric: errors, max: 0.05", '.max: "0.05" is no percentage; write it with its sign: 5%'),
        ("metric: errors, max: 3", '.max: "3" is no percentage; write it with its sign: 3%'),
        ("metric: errors, max: few", '.max: "few" is no percentage; write it with its sign: 1%'),
        ("metric: errors, max: 80%", ".max: 80% is out of range; give 0.01% to 50%"),
        ("metric: errors, max: 0%", ".max: 0% is out of range; "),
        ("metric: errors, max: 1%, quantile: 95", ".quantile: errors has no quantile; remove it"),
        ("metric: timeToFirstToken, max: 1s", ": has no quantile; give the percentile: quantile: 95"),
        ("metric: timeToFirstToken, quantile: 100, max: 1s", ".quantile: 100 is out of range; "),
        ("metric: timeToFirstToken, quantile: 95", ": is to be compared with one thing"),
        (
            "metric: timeToFirstToken, quantile: 95, max: 1s, relativeTo: v1, maxRatio: 2",
            ": is to be compared with one",
        ),
        ("metric: timeToFirstToken, quantile: 95, maxRatio: 2", ": is to be compared with one thing"),
        ("metric: timeToFirstToken, quantile: 95, relativeTo: v1", ": is to be compared with one thing"),
        ("metric: timeToFirstToken, quantile: 95, min: 1", ".min: timeToFirstToken has no min; remove it"),
        ("metric: outputTokens, quantile: 50, max: 1", ".max: outputTokens has no max; remove it"),
        ("metric: outputTokens, quantile: 50, relativeTo: v1, minRatio: 0", ".minRatio: 0 is out of range; "),
        ("metric: outputTokens, quantile: 50, relativeTo: v2, minRatio: 1", ".relativeTo: is the new version itself; "),
        ("metric: outputTokens, quantile: 50, relativeTo: v7, minRatio: 1", '.relativeTo: no version named "v7" is'),
        ("metric: outputTokens, quantile: 50, relativeTo: m, minRatio: 1", ".relativeTo: the version m is a mirror"),
        ("promql: up", ": has no bound; give min, max or both"),
        ("promql: up, min: 1, quantile: 5", ".quantile: a query has no quantile; remove it"),
        (f"promql: {'a' * 2001}, min: 1", ".promql: has 2001 characters; "),
    ],
)
def test_problems_of_guards(guard: str, problem: str) -> None:
    problems = [said(one) for one in found(rollout(f"to: v2, prometheus: 'http://p', guards: [{{{guard}}}]"))]
    assert any(f" spec.rollout.guards[0]{problem}" in one for one in problems), problems


def test_a_guard_is_named_by_its_own_place_beside_one_that_can_not_be_read() -> None:
    guards = "[{metric: nothing}, {metric: outputTokens, quantile: 50, relativeTo: v7, minRatio: 1}]"
    problems = [said(one) for one in found(rollout(f"to: v2, guards: {guards}"))]
    assert any(' spec.rollout.guards[1].relativeTo: no version named "v7" is' in one for one in problems), problems


def test_the_same_guard_twice_and_too_many() -> None:
    (problem,) = found(rollout("to: v2, guards: [{metric: errors, max: 1%}, {metric: errors, max: 1%}]"))
    assert "the same guard as on line 6" in problem.message
    many = ", ".join(f"{{metric: outputTokens, quantile: 50, min: {n}}}" for n in range(1, 34))
    assert "33 guards are too many" in "".join(map(said, found(rollout(f"to: v2, guards: [{many}]"))))


@pytest.mark.parametrize(
    ("versions", "problem"),
    [
        (
            "[{name: v1, weight: 9}, {name: v2, weight: 1}]",
            "spec.versions[1].weight: the rollout says which share it gets",
        ),
        ("[{name: v1, weight: 0, match: [{headers: {a: b}}]}, {name: v2}]", "no other version has a weight"),
        ("[{name: v2}]", "spec.rollout.to: no other version has a weight"),
    ],
)
def test_problems_with_the_versions(versions: str, problem: str) -> None:
    problems = [said(one) for one in found(policy(f"versions: {versions}\nrollout: {{to: v2, {GUARD}}}"))]
    assert any(problem in one for one in problems), problems


def test_a_rollout_without_versions() -> None:
    (problem,) = found(policy(f"rollout: {{to: v2, {GUARD}}}"))
    assert 'no version named "v2" is declared' in problem.message


def test_a_policy_by_itself_gives_the_new_version_nothing() -> None:
    """As whoever has no state reads it: a cluster's processors, for one."""
    read = model_inference_policy.read(Field("f.yaml", [], yamldoc.read("f.yaml", EVERYTHING)[0][0]), "chat", "")
    assert [(version.name, version.weight) for version in read.versions] == [("v1", 1), ("v2", 0)]


def test_the_example_of_the_docs_is_taken() -> None:
    (example,) = re.findall(
        r"<!-- rollout -->\n```yaml\n(.*?)```", (ROOT / "docs" / "rollouts.md").read_text(), re.DOTALL
    )
    assert found(example) == []

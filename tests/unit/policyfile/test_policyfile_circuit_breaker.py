"""Circuit breakers in a policy file: what they mean, and every way in which they are wrong."""

from __future__ import annotations

import re

import pytest

from extproc.policy.circuit_breaker import CircuitBreaker
from tests.house.tree import ROOT
from tests.policy_documents import found, load_texts, policy, said

VERSIONS = "versions: [{name: v1, weight: 1}, {name: v2, weight: 0}, {name: m, mirror: 5}]\n"


def breaker(text: str, more: str = "") -> str:
    return f"{VERSIONS}{more}trafficManagement: {{circuitBreaker: {{{text}}}}}"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("adaptive: true", CircuitBreaker(4, 1024)),
        ("adaptive: true, minConcurrency: 2, maxConcurrency: 9", CircuitBreaker(2, 9)),
        ("adaptive: true, maxConcurrency: 3", CircuitBreaker(3, 3)),
        ("adaptive: true, fallback: {version: v2}", CircuitBreaker(fallback_version="v2")),
        ("adaptive: false, minConcurrency: 2", None),
    ],
)
def test_what_can_be_said(text: str, expected: CircuitBreaker | None) -> None:
    (read,) = load_texts([("policy.yaml", policy(breaker(text)))]).snapshot.policies
    assert read.breaker == expected


def test_a_version_that_only_falls_back_can_be_chosen() -> None:
    assert found(policy(breaker("adaptive: true, fallback: {version: v2}"))) == []


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("maxConcurrency: 5", "circuitBreaker: has no adaptive"),
        ("adaptive: 7", "adaptive"),
        ("adaptive: true, minConcurrency: 5, maxConcurrency: 4", "5 is more than maxConcurrency, 4"),
        ("adaptive: true, minConcurrency: 0", "0 is out of range"),
        ("adaptive: true, fallback: v2", "fallback: is not a mapping; write {version: v2}, or {policy: NAME}"),
        ("adaptive: true, fallback: {}", "fallback: names nothing"),
        ("adaptive: true, fallback: {version: v2, policy: p}", "fallback: has version and policy"),
        ("adaptive: true, fallback: {version: v3}", 'no version named "v3" is declared'),
        ("adaptive: true, fallback: {version: m}", "the version m is a mirror"),
        ("adaptive: true, fallback: {policy: nobody}", 'no policy named "nobody" is declared'),
    ],
)
def test_problems(text: str, problem: str) -> None:
    assert any(problem in said(one) for one in found(policy(breaker(text)))), found(policy(breaker(text)))


def test_a_fallback_that_can_not_be_used() -> None:
    only = "versions: [{name: v1}, {name: m, mirror: 5}]\ntrafficManagement: {circuitBreaker: {"
    (unused,) = found(policy(f"{only}adaptive: false, fallback: {{policy: nobody}}}}}}"))
    assert said(unused).endswith("fallback: has no effect: adaptive is false; write adaptive: true, or remove fallback")
    (itself,) = found(policy(f"{only}adaptive: true, fallback: {{version: v1}}}}}}"))
    assert "fallback.version: v1 is the only version that answers: it can't answer in its own place" in said(itself)
    assert unused.warning
    assert itself.warning


def test_what_is_not_observed_is_not_known() -> None:
    problems = found(policy(breaker("adaptive: true", "observability: {sampling: 0}\n")))
    assert any("nothing is observed" in said(one) for one in problems)


def test_the_example_of_the_docs_is_taken() -> None:
    page = (ROOT / "docs" / "circuit-breaking.md").read_text()
    (example,) = re.findall(r"<!-- breaker -->\n```yaml\n(.*?)```", page, re.DOTALL)
    assert found(example) == []

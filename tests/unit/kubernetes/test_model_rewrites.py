"""Rules of InferenceModelRewrites: which one counts for a model, and what becomes of its targets."""

from __future__ import annotations

import pytest

from extproc.kubernetes.api import Object
from extproc.kubernetes.model_rewrites import MAX_RULES, MAX_TARGETS, RewriteTarget, Rule, rules_of
from tests.unit.kubernetes.inference_objects import rewrite, rule

Told = list[tuple[str, str]]


def read(*rewrites: Object, told: Told | None = None) -> tuple[list[Rule], Rule | None]:
    def tell(one: Object, path: str, _message: str, _remedy: str) -> None:
        assert told is not None
        told.append((one["metadata"]["name"], path))

    return rules_of(rewrites, tell)


def models(rules: list[Rule]) -> dict[str, tuple[str, ...]]:
    return {rule.name: rule.models for rule in rules}


def test_a_rule_has_models_and_weighted_targets() -> None:
    (only,), generic = read(rewrite("canary", rule("chat", "talk", llama_8b=90, llama_70b=10)))
    targets = (RewriteTarget("llama-8b", "llama-8b", 90), RewriteTarget("llama-70b", "llama-70b", 10))
    assert (only.name, only.models, only.targets, generic) == ("canary", ("chat", "talk"), targets, None)


def test_targets_without_weights_share_equally() -> None:
    (only,), _ = read(rewrite("canary", rule("chat", a=None, b=None)))
    assert [target.weight for target in only.targets] == [1, 1]


def test_the_oldest_rule_for_a_model_counts_and_within_an_object_the_first() -> None:
    older = rewrite("older", rule("a", x=1), rule("a", "b", y=1))
    younger = rewrite("younger", rule("b", "c", z=1), rule("a", w=1))
    exact, _ = read(older, younger)
    assert models(exact) == {"older": ("a",), "older-2": ("b",), "younger": ("c",)}


def test_of_rules_for_all_models_the_first_counts() -> None:
    exact, generic = read(rewrite("one", rule("a", x=1), rule(y=1)), rewrite("two", rule(z=1)))
    assert generic is not None
    assert (generic.name, [target.model for target in generic.targets]) == ("one-2", ["y"])
    assert models(exact) == {"one": ("a",)}


def test_a_rule_without_targets_changes_nothing_and_counts_all_the_same() -> None:
    (only,), _ = read(rewrite("one", rule("a")), rewrite("two", rule("a", x=1)))
    assert (only.name, only.targets) == ("one", ())


def test_models_become_names_of_versions() -> None:
    names = ("meta-llama/Llama-3.1-8B", "meta-llama:Llama-3.1-8B", "/", "ä", "x" * 90)
    rules = {"matches": [{"model": {"value": "a"}}], "targets": [{"modelRewrite": name} for name in names]}
    (only,), _ = read(rewrite("one", rules))
    assert [target.version for target in only.targets] == [
        "meta-llama-Llama-3.1-8B",
        "meta-llama-Llama-3.1-8B-2",
        "target",
        "target-2",
        "x" * 60,
    ]
    assert [target.model for target in only.targets] == list(names)


@pytest.mark.parametrize("model", ["a*", " a", "", "a\n", "x" * 257])
def test_a_rule_with_what_is_no_models_name_counts_for_nothing_and_is_told(model: str) -> None:
    told: Told = []
    wrong = {"matches": [{"model": {"value": model}}], "targets": [{"modelRewrite": "x"}]}
    to_wrong = {"targets": [{"modelRewrite": model}]}
    exact, generic = read(rewrite("one", rule("a", x=1), wrong, to_wrong, rule(y=1)), told=told)
    assert models(exact) == {"one": ("a",)}
    assert generic is not None
    assert generic.name == "one-4"
    assert told == [("one", "spec.rules[1]"), ("one", "spec.rules[2]")]


def test_rules_and_targets_are_bounded_and_told_once() -> None:
    told: Told = []
    many = {"targets": [{"modelRewrite": "x"}] * (MAX_TARGETS + 1)}
    exact, _ = read(rewrite("one", many, *(rule(f"m{i}", x=1) for i in range(3 * MAX_RULES))), told=told)
    assert len(exact) == MAX_RULES - 1
    assert told == [("one", "spec.rules[0]"), ("one", f"spec.rules[{MAX_RULES}]")]

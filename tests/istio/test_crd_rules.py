"""The API server takes our CRDs: rules read declared fields, what they walk is bounded, and none costs too much.

`make test-crds` and `make test-kubernetes` ask its own code.
"""

from __future__ import annotations

from typing import Any

import pytest

from tests.manifests.cel_costs import CRD_LIMIT, RULE_LIMIT, Unreadable, cost, rules, unbounded

from .test_policy_crds import CRDS

NAMES = {"type": "array", "maxItems": 1000, "items": {"type": "string", "maxLength": 250}}
SCHEMA = {
    "type": "object",
    "properties": {
        "a": NAMES,
        "b": NAMES,
        "any": {"x-kubernetes-preserve-unknown-fields": True},
        "endless": {"type": "array", "items": {"type": "string"}},
        "kind": {"type": "string", "enum": ["one", "three"]},
    },
}
COSTS = {
    "has(self.a)": 1,
    "!has(self.a) || self.a.exists(x, x.contains('://'))": 105_005,
    "self.a.all(x, self.b.exists(y, y == x))": 106_006_003,
    "self.a[0].matches('^(?i:https)://')": 407,
    "self.kind in ['one', 'three']": 14,
}
"""By the API server of 1.36 itself."""


@pytest.mark.parametrize("crd", CRDS.values(), ids=CRDS)
def test_no_rule_costs_too_much(crd: dict[str, Any]) -> None:
    costs = {f"{path}: {rule}": cost(rule, schema) * times for path, rule, schema, times in rules(crd)}
    assert len(costs) > 9
    assert {place: spent for place, spent in costs.items() if spent > RULE_LIMIT} == {}
    assert sum(costs.values()) < CRD_LIMIT


@pytest.mark.parametrize("crd", CRDS.values(), ids=CRDS)
def test_what_people_write_is_bounded(crd: dict[str, Any]) -> None:
    """Rules and their costs grow with it."""
    (version,) = crd["spec"]["versions"]
    assert list(unbounded(version["schema"]["openAPIV3Schema"]["properties"]["spec"])) == []


@pytest.mark.parametrize("rule", ["has(self.c)", "has(self.any)", "self.any.b == 'x'", "self.a.all(x, has(x.y))"])
def test_a_rule_that_reads_what_is_not_declared(rule: str) -> None:
    with pytest.raises(Unreadable):
        cost(rule, SCHEMA)


@pytest.mark.parametrize(("rule", "spent"), COSTS.items(), ids=COSTS)
def test_costs_are_upper_estimates(rule: str, spent: int) -> None:
    assert spent <= cost(rule, SCHEMA) <= 3 * spent


def test_what_has_no_bound_costs_too_much() -> None:
    assert cost("self.endless.exists(x, x == 'a')", SCHEMA) > RULE_LIMIT
    assert list(unbounded(SCHEMA)) == [".endless", ".endless[]"]

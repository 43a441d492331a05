"""All rules for Istio over all files: what counts, and in which order it is told."""

from __future__ import annotations

from extproc.errors import Problem
from extproc.lint.linter import MODULES, RULES, lint, markdown
from extproc.lint.rendering_drift import RULES as OF_DRIFT
from extproc.policy.snapshot import Policy, Snapshot
from tests.lint.istio_objects import envoy_filter, resource

OLD = resource("Sidecar", "a").replace("/v1", "/v1beta1")


def test_files_are_judged_together_in_the_order_in_which_they_are_given() -> None:
    route = {"route": [{"destination": {"host": "shop", "subset": "v1"}}]}
    routes = resource("VirtualService", hosts=["shop"], http=[route])
    rule = resource("DestinationRule", host="shop", subsets=[{"name": "v1"}])
    assert [finding.code for finding in lint([("a", routes)]).findings] == ["AIM203"]
    assert lint([("b", routes), ("a", rule)]).findings == ()
    found = lint([("b", OLD), ("a", resource("Sidecar", "A_B"))]).findings
    assert [(finding.file, finding.code) for finding in found] == [("b", "AIM003"), ("a", "AIM007")]


def test_what_can_not_be_read_comes_first() -> None:
    gone = Problem("z.yaml", 0, 0, "", "does not exist", "name a file")
    linted = lint([("a", OLD), ("b", "kind: [")], [gone])
    assert [(f.file, f.code) for f in linted.findings] == [("z.yaml", "AIM001"), ("a", "AIM003"), ("b", "AIM001")]
    assert (linted.resources, linted.files) == (1, 2)


def test_a_document_without_a_kind_is_unreadable() -> None:
    (found,) = lint([("a", "apiVersion: v1\nmetadata: {name: a}")]).findings
    assert (found.code, found.message) == ("AIM001", "is no Kubernetes manifest: it has no kind")


def test_a_file_that_is_given_twice_counts_once() -> None:
    linted = lint([("a", OLD), ("b", OLD)])
    assert [finding.file for finding in linted.findings] == ["a"]
    assert (linted.resources, linted.files) == (1, 2)


def test_nothing_is_well() -> None:
    assert lint([]) == lint([])
    assert (lint([]).findings, lint([]).resources) == ((), 0)


def test_renderings_are_compared_only_where_policies_are_given() -> None:
    text = envoy_filter()
    policies = Snapshot((Policy("chat", "ai", host="chat"),))
    assert lint([("a", text)]).findings == ()
    assert [finding.code for finding in lint([("a", text)], snapshot=policies).findings] == ["AIM603"]


def test_the_page_has_every_rule_once_below_what_its_module_says() -> None:
    page = markdown()
    assert all(page.count(f"| `{rule.code}` |") == 1 for rule in (*RULES, *OF_DRIFT))
    headings = [line for line in page.splitlines() if line.startswith("#")]
    assert len(headings) == len(MODULES) + 1
    assert all(line.startswith("### ") and not line.endswith(".") for line in headings)
    assert "``" not in page


def test_every_rule_tells_what_comes_of_it_and_what_to_do() -> None:
    for rule in RULES:
        assert rule.why.endswith(".") or rule.why.endswith(")"), rule.code
        assert not rule.title.endswith("."), rule.code
        assert not rule.remedy.endswith("."), rule.code

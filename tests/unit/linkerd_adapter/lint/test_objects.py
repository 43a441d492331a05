"""Objects as they are given: Lists, JSON, several documents, what is none, and which routes are meant for Services."""

from __future__ import annotations

import json

import pytest
import yaml
from linkerd_adapter.lint.linter import lint

from tests.lint.linkerd.corpus import PARENT, backend, findings, route, service

WRONG = route(f"{{backendRefs: [{backend('a', ', weight: 0')}, {backend('b', ', weight: 0')}]}}")


def codes(text: str) -> set[str]:
    return {finding.code for finding in findings(text)}


def test_documents_lists_typed_lists_and_json_are_read() -> None:
    (tree,) = yaml.safe_load_all(WRONG)
    bare = {key: value for key, value in tree.items() if key not in ("apiVersion", "kind")}
    typed = {"apiVersion": tree["apiVersion"], "kind": "HTTPRouteList", "items": [bare]}
    many = {"apiVersion": "v1", "kind": "List", "items": [{"kind": "List", "items": [tree]}]}
    for text in (WRONG, json.dumps(tree), yaml.safe_dump(typed), json.dumps(many), f"{service('z')}{WRONG}"):
        assert "LNK403" in codes(text), text


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("", set()),
        ("---\n---\n", set()),
        ("# nothing\n", set()),
        ("a: [", {"LNK001"}),
        ("kind: Pod\n", {"LNK002"}),
        ("apiVersion: v1\n", {"LNK002"}),
        ("- 1\n", {"LNK002"}),
        ("text\n", {"LNK002"}),
        ("apiVersion: v1\nkind: List\nitems: []\n", set()),
        ("kind: List\n", set()),
    ],
)
def test_what_is_no_object(text: str, found: set[str]) -> None:
    assert codes(text) == found


def test_what_comes_before_an_error_is_looked_at() -> None:
    assert {"LNK001", "LNK403"} <= codes(WRONG + "---\na: [\n")


def test_what_is_given_together_is_judged_together() -> None:
    one, other = route(f"{{backendRefs: [{backend('a')}]}}"), service("other")
    found, given = lint([("one.yaml", one), ("other.yaml", other)])
    assert [(f.file, f.code) for f in found if f.code in ("LNK406", "LNK110")] == [
        ("one.yaml", "LNK110"),
        ("one.yaml", "LNK406"),
    ]
    assert (len(given.resources), len(given.routes), len(given.services)) == (2, 1, 1)


@pytest.mark.parametrize(
    ("parents", "more", "meant"),
    [
        (PARENT, "", True),
        ("{kind: service, name: llm}", "", True),
        ("{group: core, name: llm, port: 80}", "", True),
        ("{name: llm}", "", False),
        ("{name: llm, port: 80}", "", True),
        ("{name: llm}", service("llm"), True),
        ("{name: llm, namespace: ml}", service("llm"), False),
        ("{kind: Gateway, name: llm}", service("llm"), False),
        ("{group: apps, name: llm}", service("llm"), False),
        ("{group: policy.linkerd.io, kind: Server, name: llm}", "", False),
    ],
)
def test_which_routes_are_meant_for_services(parents: str, more: str, *, meant: bool) -> None:
    """Only for these the rules on matches, filters and backends hold."""
    _, given = lint([("a.yaml", route("{}", parents=parents) + more)])
    assert bool(given.routes) is meant
    assert len(given.all_routes) == 1


def test_of_routes_and_services_of_one_name_the_last_counts() -> None:
    twice = service("llm", "ports: [{port: 81}]") + service("llm", "ports: [{port: 80}]")
    assert "LNK106" not in codes(route("{}") + twice)
    assert "LNK206" not in codes(route("{}") + route("{}")), "a route that is given twice does not compete with itself"


def test_a_group_of_another_maker_is_none_of_linkerds() -> None:
    assert codes(WRONG.replace("gateway.networking.k8s.io", "example.com")) == set()

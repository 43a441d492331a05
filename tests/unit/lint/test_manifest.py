"""Manifests as values that know their place."""

from __future__ import annotations

import pytest

from extproc.lint.findings import Rule
from extproc.lint.manifest import Value, read

RULE = Rule("AIM999", "error", "wrong", "Nothing.", "right it")
TEXT = """\
apiVersion: example.com/v1
kind: Thing
metadata: {name: a, namespace: n}
spec:
  typed_config: {someField: 3, other_field: "true"}
  list: [x, y]
---
kind: List
apiVersion: v1
items:
- {apiVersion: v1, kind: Service, metadata: {name: b}}
"""


@pytest.fixture
def spec() -> Value:
    return read([("f.yaml", TEXT)])[0][0].spec


def test_resources_and_those_of_a_list() -> None:
    resources, problems = read([("f.yaml", TEXT)])
    assert problems == []
    assert [(r.group, r.kind, r.namespace, r.name, r.place) for r in resources] == [
        ("example.com", "Thing", "n", "a", "f.yaml:1"),
        ("", "Service", "default", "b", "f.yaml:11"),
    ]


def test_fields_in_either_of_protobufs_spellings(spec: Value) -> None:
    assert spec.at("typed_config", "some_field").number == 3
    assert spec.at("typed_config", "other_field").flag
    assert spec.at("typed_config", "some_field").path == "spec.typed_config.someField"


def test_what_is_not_there_is_false_and_has_the_place_of_what_would_hold_it(spec: Value) -> None:
    missing = spec.at("list", 2, "deeper")
    assert not missing
    assert (missing.text, missing.number, missing.items, missing.entries) == ("", None, [], {})
    assert str(missing.breaks(RULE)) == "f.yaml:6:9: error AIM999: spec.list[2].deeper: wrong; right it"
    assert str(spec.at("list", 1).breaks(RULE, "this", "that")) == "f.yaml:6:13: error AIM999: spec.list[1]: this; that"


def test_keys_have_places_of_their_own(spec: Value) -> None:
    assert [(name, key.node.column, key.path) for name, key in spec.named()] == [
        ("typed_config", 3, "spec.typed_config"),
        ("list", 3, "spec.list"),
    ]


def test_content_is_equal_where_the_same_is_said() -> None:
    written = "kind: A\nspec: {a: 1, b: [x, {c: null}]}"
    again = "kind: A\nspec:\n  b:\n  - x\n  - c: ~\n  a: '1'"
    other = "kind: A\nspec: {a: 1, b: [{c: null}, x]}"
    one, same, different = (read([("f", text)])[0][0].spec.content for text in (written, again, other))
    assert one == same
    assert one != different


def test_walking_visits_outer_values_first(spec: Value) -> None:
    paths = [value.path for value in spec.walk()]
    assert paths[:2] == ["spec", "spec.typed_config"]
    assert paths[-2:] == ["spec.list[0]", "spec.list[1]"]


@pytest.mark.parametrize(
    ("written", "seconds"),
    [
        ("1m30s", 90),
        ("0.25s", 0.25),
        ("500ms", 0.5),
        ("1.5h", 5400),
        ("0s", 0),
        ("10", None),
        ("s", None),
        ("-1s", None),
    ],
)
def test_durations(written: str, seconds: float | None) -> None:
    (resource,), _ = read([("f", f'kind: A\nt: "{written}"')])
    assert resource.root.at("t").seconds == seconds


@pytest.mark.parametrize("text", ["apiVersion: v1", "spec: {}", "kind: {}"])
def test_a_manifest_without_a_kind_is_a_problem(text: str) -> None:
    resources, problems = read([("f", text)])
    assert resources == []
    assert problems[0].message == "is no Kubernetes manifest: it has no kind"


@pytest.mark.parametrize("text", ["[a, b]", "a: 1", "just a text", "# nothing"])
def test_what_is_no_manifest_is_left_out(text: str) -> None:
    assert read([("f", text)]) == ([], [])

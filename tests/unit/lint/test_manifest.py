"""Manifests as values that know their place."""

from __future__ import annotations

import pytest

from extproc.lint.findings import Rule
from extproc.lint.manifest import Resource, Value, documents, is_list, resources

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


def read(text: str, namespace: str = "default") -> list[Resource]:
    found, problems = documents("f.yaml", text)
    assert problems == []
    return [resource for document in found for resource in resources(document, namespace)]


@pytest.fixture
def spec() -> Value:
    return read(TEXT)[0].spec


def test_resources_and_those_of_a_list() -> None:
    assert [(r.group, r.kind, r.namespace, r.name, r.location) for r in read(TEXT)] == [
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
    written = "kind: A\nspec: {a: 1, b: [x, {c: 2}]}"
    again = "kind: A\nspec:\n  b:\n  - x\n  - c: '2'\n  a: '1'"
    other = "kind: A\nspec: {a: 1, b: [{c: 2}, x]}"
    one, same, different = (read(text)[0].spec.content for text in (written, again, other))
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
    (resource,) = read(f'kind: A\nt: "{written}"')
    assert resource.root.at("t").seconds == seconds


def test_a_typed_list_gives_its_items_what_they_need_not_repeat() -> None:
    text = """\
apiVersion: example.com/v1
kind: ThingList
items:
- metadata: {name: a}
- {apiVersion: other.com/v2, kind: Other, metadata: {name: b}}
- kind: List
  items: [{kind: Inner, metadata: {name: c}}]
"""
    assert [(r.api_version, r.kind, r.name) for r in read(text)] == [
        ("example.com/v1", "Thing", "a"),
        ("other.com/v2", "Other", "b"),
        ("example.com/v1", "Inner", "c"),
    ]
    assert is_list(documents("f", text)[0][0])


def test_an_object_may_lack_everything() -> None:
    (resource,) = read("a: 1", namespace="")
    assert (resource.api_version, resource.kind, resource.key, resource.annotations) == ("", "", ("", ""), {})
    assert not resource.spec


@pytest.mark.parametrize(
    ("api_version", "group", "version"),
    [("v1", "", "v1"), ("networking.istio.io/v1", "networking.istio.io", "v1"), ("a/b/v2", "a/b", "v2")],
)
def test_an_api_version_is_a_group_and_a_version(api_version: str, group: str, version: str) -> None:
    (resource,) = read(f"{{apiVersion: {api_version}, kind: A}}")
    assert (resource.group, resource.version) == (group, version)


def test_null_is_not_there() -> None:
    root = documents("f", "kind: A\nspec: {gone: null, list: [~, a, null], text: 'null'}")[0][0]
    assert not root.at("spec", "gone")
    assert list(root.at("spec").entries) == ["list", "text"]
    assert [(item.path, item.text) for item in root.at("spec", "list").items] == [("spec.list[1]", "a")]
    assert not root.at("spec", "list", 0)
    assert root.at("spec", "list", 1).text == "a"
    assert root.at("spec", "text").text == "null"
    assert [name for name, _ in root.at("spec").named()] == ["gone", "list", "text"]
    assert root.at("spec", "gone").node.column == 14, "what is said of it points at the null"


@pytest.mark.parametrize(
    ("written", "integer", "number"),
    [
        ("8080", 8080, 8080),
        ("'8080'", None, 8080),
        ("-1", -1, -1),
        ("1.5", None, 1.5),
        ("true", None, None),
        ("[1]", None, None),
        ("null", None, None),
        ("9" * 5000, None, float("inf")),
    ],
)
def test_numbers(written: str, integer: int | None, number: float | None) -> None:
    value = documents("f", f"a: {written}")[0][0].at("a")
    assert (value.integer, value.number) == (integer, number)


@pytest.mark.parametrize(
    ("written", "scalar"), [("a", True), ("''", True), ("1", True), ("[]", False), ("{}", False), ("null", False)]
)
def test_a_scalar_is_told_from_lists_and_mappings(written: str, scalar: bool) -> None:
    assert documents("f", f"a: {written}")[0][0].at("a").is_scalar is scalar


def test_what_is_wrong_with_the_yaml_is_told_beside_what_comes_before_it() -> None:
    found, problems = documents("f.yaml", "kind: A\n---\nkind: [\n")
    assert [document.at("kind").text for document in found] == ["A"]
    assert [(problem.file, problem.line > 2) for problem in problems] == [("f.yaml", True)]

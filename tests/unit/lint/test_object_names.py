"""Objects of one name, and names that Kubernetes does not take."""

from __future__ import annotations

from pathlib import Path

import pytest

from extproc.lint import object_names
from extproc.lint.mesh import read
from extproc.lint.object_names import once
from tests.lint import corpus
from tests.lint.istio_objects import resource


@corpus.bad(object_names)
def test_bad_manifests_of_the_corpus(path: Path) -> None:
    assert corpus.found(object_names, path) == corpus.expected(object_names, path)


def test_good_manifests_of_the_corpus() -> None:
    assert corpus.found_in_good(object_names) == []


def codes(text: str) -> list[str]:
    return corpus.found_codes(object_names, text)


def test_the_second_is_told_of_and_where_the_first_is() -> None:
    text = resource("Sidecar", "a", egress=[]) + resource("Sidecar", "a", egress=[1])
    (found,) = corpus.findings(object_names, text)
    assert (found.code, found.path) == ("AIM006", "metadata.name")
    assert found.message == "Sidecar a of namespace ai is at f.yaml:2 too, with other content"


@pytest.mark.parametrize(
    ("kind", "name", "namespace"), [("Service", "a", "ai"), ("Sidecar", "b", "ai"), ("Sidecar", "a", "web")]
)
def test_another_kind_name_or_namespace_is_another_object(kind: str, name: str, namespace: str) -> None:
    assert codes(resource("Sidecar", "a") + resource(kind, name, namespace, more=1)) == []


def test_no_namespace_is_the_default_one() -> None:
    bare = "---\napiVersion: v1\nkind: Service\nmetadata: {name: a}\n"
    assert codes(resource("Service", "a", "default") + bare) == ["AIM006"]


def test_two_versions_of_an_api_are_one_kind() -> None:
    text = resource("Sidecar", "a")
    assert codes(text + text.replace("/v1", "/v1beta1")) == ["AIM006"]


def test_the_same_content_counts_once_in_any_order_of_its_fields() -> None:
    texts = ["{kind: A, metadata: {name: a}, spec: {b: 1, c: 2}}", "{spec: {c: 2, b: 1}, metadata: {name: a}, kind: A}"]
    resources, _ = read([("one", texts[0]), ("two", texts[1])])
    assert [resource.root.file for resource in once(resources)] == ["one"]


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("a" * 253, []),
        ("a" * 254, ["AIM007"]),
        ("a.b-c.d", []),
        ("a..b", ["AIM007"]),
        ("-a", ["AIM007"]),
        ("a-", ["AIM007"]),
        ("Models", ["AIM007"]),
        ("a_b", ["AIM007"]),
    ],
)
def test_names(name: str, found: list[str]) -> None:
    assert codes(resource("Sidecar", name)) == found


@pytest.mark.parametrize(("namespace", "found"), [("a" * 63, []), ("a" * 64, ["AIM007"]), ("a.b", ["AIM007"])])
def test_names_of_namespaces_have_no_dots(namespace: str, found: list[str]) -> None:
    assert codes(resource("Sidecar", "a", namespace)) == found


def test_names_of_other_kinds_are_not_judged_and_objects_without_a_name_are_none() -> None:
    assert codes(resource("ConfigMap", "A_B")) == []
    assert codes("kind: Sidecar\nspec: {a: 1}\n---\nkind: Sidecar\nspec: {a: 2}\n") == []

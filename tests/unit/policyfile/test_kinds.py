"""Documents by their kind: unknown kinds, and metadata."""

from __future__ import annotations

import pytest

from tests.policy_documents import file, found, policy, said

API = "apiVersion: ai.istio.io/v1alpha1\n"


@pytest.mark.parametrize(
    ("text", "start"),
    [
        ("a\n", "1 : is not a mapping; write fields below it"),
        ("- a\n", "1 : is not a mapping; write fields below it"),
        (policy().replace("v1alpha1", "v1"), '1 apiVersion: "ai.istio.io/v1" is none of ai.istio.io/v1alpha1; did'),
        (policy().replace("ModelInf", "ModleInf"), '2 kind: "ModleInferencePolicy" is none of ModelInferencePolicy,'),
    ],
)
def test_a_document_of_another_kind(text: str, start: str) -> None:
    (problem,) = found(text)
    assert said(problem).startswith(start)


def test_another_kind_says_which_are_known() -> None:
    (problem,) = found(file(policy(), API + "kind: VirtualService\nmetadata: {name: a}\nspec: {}\n"))
    assert said(problem) == (
        '8 kind: "VirtualService" is none of ModelInferencePolicy, GpuPool; use one of: ModelInferencePolicy, GpuPool'
    )


def test_everything_that_a_document_lacks_is_said() -> None:
    assert [said(p) for p in found(file(policy(), "a: 1\n"))] == [
        "7 a: is not a known field; use one of: apiVersion, kind, metadata, spec",
        "7 : has no apiVersion; write apiVersion: ai.istio.io/v1alpha1",
        "7 : has no kind; write kind: ModelInferencePolicy or kind: GpuPool",
        "7 : has no metadata; write metadata: {name: my-name}",
        "7 : has no spec; write spec: with the fields below it",
    ]


@pytest.mark.parametrize(
    ("metadata", "start"),
    [
        ("{}", "3 metadata: has no name; give it a name"),
        ("{name: a b}", '3 metadata.name: "a b" is not allowed; give 1 to 63 letters'),
        ("{name: chat, namespace: A}", '3 metadata.namespace: "A" is not allowed'),
        ("{name: chat, label: {}}", '3 metadata.label: is not a known field; did you mean "labels"?'),
        ("{name: chat, labels: [a]}", "3 metadata.labels: is not a mapping"),
        ("chat", "3 metadata: is not a mapping"),
    ],
)
def test_metadata(metadata: str, start: str) -> None:
    (problem,) = found(policy().replace("{name: chat}", metadata))
    assert said(problem).startswith(start)


def test_labels_and_annotations_are_ignored() -> None:
    metadata = "{name: chat, namespace: ai, labels: {a/b: 1, c: [x]}, annotations: {d: ''}}"
    assert found(policy().replace("{name: chat}", metadata)) == []

"""Fields that VirtualServices and DestinationRules do not have."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from extproc.lint import field_names
from tests.lint import corpus
from tests.lint.istio_objects import resource


@corpus.bad(field_names)
def test_bad_manifests_of_the_corpus(path: Path) -> None:
    assert corpus.found(field_names, path) == corpus.expected(field_names, path)


def test_good_manifests_of_the_corpus() -> None:
    assert corpus.found_in_good(field_names) == []


def codes(text: str) -> list[str]:
    return corpus.found_codes(field_names, text)


def test_an_unknown_field_is_told_with_its_place_and_the_one_that_was_meant() -> None:
    route = {"match": [{"uri": {"prefix": "/"}}, {"header": {"x-a": {"exact": "b"}}}], "route": []}
    (found,) = corpus.findings(field_names, resource("VirtualService", hosts=["a"], http=[route]))
    assert (found.path, found.message) == (
        "spec.http[0].match[1].header",
        "a VirtualService has no field header here",
    )
    assert found.remedy == 'did you mean "headers"?'


@pytest.mark.parametrize(
    ("kind", "spec", "found"),
    [
        ("VirtualService", {"http": {"match": []}}, []),
        ("VirtualService", {"http": [{"matches": None}]}, ["AIM216"]),
        ("VirtualService", {"http": [{"match": [{"headers": {"anything": {}}}]}]}, []),
        ("VirtualService", {"http": [{"match": [{"uri": {"exactly": "/"}}]}]}, ["AIM216"]),
        ("VirtualService", {"tcp": [{"anything": {}}], "tls": [{"anything": 1}]}, []),
        ("VirtualService", {"http": [{"retries": {"attempt": 1}}], "host": "a"}, ["AIM216", "AIM216"]),
        ("VirtualService", {"http": ["text", 1]}, []),
        ("DestinationRule", {"subsets": [{"labels": {"any": "thing"}}]}, []),
        ("DestinationRule", {"trafficPolicy": {"retryBudget": {"retryRatio": 1}}}, []),
        ("DestinationRule", {"trafficPolicy": {"portLevelSettings": [{"tunnel": {}}]}}, ["AIM216"]),
        ("DestinationRule", {"subsets": [{"trafficPolicy": {"tls": {"modes": 1}}}]}, ["AIM216"]),
        ("Service", {"anything": 1}, []),
    ],
)
def test_fields(kind: str, spec: dict[str, Any], found: list[str]) -> None:
    assert codes(resource(kind, **spec)) == found

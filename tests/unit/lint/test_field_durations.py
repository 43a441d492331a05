"""Durations of VirtualServices and DestinationRules."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from extproc.lint import field_durations
from tests.lint import corpus
from tests.lint.istio_objects import resource


@corpus.bad(field_durations)
def test_bad_manifests_of_the_corpus(path: Path) -> None:
    assert corpus.found(field_durations, path) == corpus.expected(field_durations, path)


def test_good_manifests_of_the_corpus() -> None:
    assert corpus.found_in_good(field_durations) == []


def codes(text: str) -> list[str]:
    return corpus.found_codes(field_durations, text)


TO = {"route": [{"destination": {"host": "llama"}}]}


@pytest.mark.parametrize(
    ("kind", "spec", "found"),
    [
        ("VirtualService", {"http": [{**TO, "timeout": "5"}]}, ["AIM214"]),
        ("VirtualService", {"http": [{**TO, "timeout": "5s"}]}, []),
        ("VirtualService", {"http": [{**TO, "retries": {"perTryTimeout": "1d"}}]}, ["AIM214"]),
        ("VirtualService", {"http": [{**TO, "match": [{"headers": {"timeout": {"exact": "x"}}}]}]}, []),
        ("VirtualService", {"http": [{**TO, "match": [{"sourceLabels": {"time": "x"}}]}]}, ["AIM214"]),
        ("DestinationRule", {"trafficPolicy": {"outlierDetection": {"interval": "soon"}}}, ["AIM214"]),
        ("DestinationRule", {"subsets": [{"labels": {"interval": "soon"}}]}, []),
        ("DestinationRule", {"workloadSelector": {"matchLabels": {"ttl": "soon"}}}, []),
    ],
)
def test_durations(kind: str, spec: dict[str, Any], found: list[str]) -> None:
    assert codes(resource(kind, **spec)) == found

"""TrafficSplits, which mask routes."""

from __future__ import annotations

from pathlib import Path

import pytest
from linkerd_adapter.lint import traffic_splits

from tests.lint.linkerd.corpus import bad, check, codes, route


@pytest.mark.parametrize("file", bad(traffic_splits.RULES), ids=lambda file: file.stem)
def test_its_bad_manifests(file: Path) -> None:
    check(file)


def of(text: str) -> list[str]:
    return codes(text, traffic_splits.RULES)


ROUTE = route("{}")


def split(name: str) -> str:
    head = "---\napiVersion: split.smi-spec.io/v1alpha1\nkind: TrafficSplit\nmetadata: {name: a, namespace: ai}\n"
    return f"{head}spec: {{service: {name}}}\n"


@pytest.mark.parametrize("name", ["llm", "llm.ai"])
def test_a_split_of_a_service_with_routes(name: str) -> None:
    assert of(ROUTE + split(name)) == ["LNK506"]
    assert of(split(name)) == []


def test_a_split_of_another_service() -> None:
    assert of(ROUTE + split("other")) == []

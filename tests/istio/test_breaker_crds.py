"""The CRD of policies takes and refuses the circuit breakers that `extproc check` takes and refuses."""

from __future__ import annotations

from typing import Any

import pytest

from .test_policy_crds import checked, documents, refused

VERSIONS = "versions: [{name: v1, weight: 1}, {name: v2, weight: 0}, {name: m, mirror: 5}]"
GOOD = (
    "adaptive: true",
    "adaptive: false, fallback: {version: v2}",
    "adaptive: true, minConcurrency: 8, maxConcurrency: 8",
    "adaptive: true, maxConcurrency: 1000000, fallback: {version: v1}",
)
BAD = (
    "maxConcurrency: 8",
    "adaptive: 1",
    "adaptive: true, minConcurrency: 9, maxConcurrency: 8",
    "adaptive: true, maxConcurrency: 0",
    "adaptive: true, minConcurrency: 1.5",
    "adaptive: true, minConcurrency: 1000001, maxConcurrency: 1000001",
    "adaptive: true, fallback: {}",
    "adaptive: true, fallback: v1",
    "adaptive: true, fallback: {policy: b, version: v1}",
    "adaptive: true, fallback: {version: v3}",
    "adaptive: true, fallback: {version: m}",
    "adaptive: true, fallback: {policy: -b}",
    "adaptive: true, limit: 5",
)


def policies(*breakers: str) -> list[dict[str, Any]]:
    specs = (f"{{{VERSIONS}, trafficManagement: {{circuitBreaker: {{{text}}}}}}}" for text in breakers)
    return documents("ModelInferencePolicy", "\n---\n".join(specs))


@pytest.mark.parametrize("document", policies(*GOOD), ids=GOOD)
def test_what_check_takes_is_taken(document: dict[str, Any]) -> None:
    assert checked(document) == ""
    assert refused(document) == []


@pytest.mark.parametrize("document", policies(*BAD), ids=BAD)
def test_what_check_refuses_is_refused(document: dict[str, Any]) -> None:
    assert checked(document) != ""
    assert refused(document) != []

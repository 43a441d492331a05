"""``versions[].inferencePool`` as the API server takes and refuses it: as `extproc check` does."""

from __future__ import annotations

from typing import Any

import pytest

from tests.istio.test_policy_crds import checked, documents, refused

GOOD = """
{versions: [{name: v1, inferencePool: {name: llama}}]}
---
{versions: [{name: v1, weight: 1, inferencePool: {name: b.c, matchLabels: {a: "", example.com/b: c}}}]}
---
{versions: [{name: v1, inferencePool: {name: llama}, modelRewrite: a, gpuPools: [west]}]}
"""
BAD = """
{versions: [{name: v1, inferencePool: llama}]}
---
{versions: [{name: v1, inferencePool: {}}]}
---
{versions: [{name: v1, inferencePool: {name: A}}]}
---
{versions: [{name: v1, inferencePool: {name: a, matchLabels: {a: "b c"}}}]}
---
{versions: [{name: v1, inferencePool: {name: a, labels: {}}}]}
---
{versions: [{name: v1, inferencePool: {name: a}, endpoints: ["a:1"]}]}
---
{versions: [{name: v1, inferencePool: {name: a}, grpcEndpoints: ["a:1"]}]}
---
{versions: [{name: v1}, {name: m, mirror: 5, inferencePool: {name: a}}]}
"""


@pytest.mark.parametrize("document", documents("ModelInferencePolicy", GOOD), ids=str)
def test_what_check_takes_is_taken(document: dict[str, Any]) -> None:
    assert checked(document) == ""
    assert refused(document) == []


@pytest.mark.parametrize("document", documents("ModelInferencePolicy", BAD), ids=str)
def test_what_check_refuses_is_refused(document: dict[str, Any]) -> None:
    assert checked(document) != ""
    assert refused(document) != []

"""The CRD of policies takes and refuses the rollouts and `weightsFrom` that `extproc check` takes and refuses."""

from __future__ import annotations

from typing import Any

import pytest

from extproc.policy.rollout_plan import METRICS

from .test_policy_crds import CRDS, checked, documents, refused

GOOD = """
{versions: [{name: v1, weight: 1}, {name: v2, weight: 0}], rollout: {to: v2, guards: [{metric: errors, max: 1%}]}}
---
{versions: [{name: v1, weight: 1}, {name: v2}], rollout: {to: v2, guards: [{metric: errors, max: 1%}]}}
---
{versions: [{name: v1}, {name: v2}], rollout: {to: v2, steps: {ratio: exponential}, guards: [{promql: a, min: 1}]}}
---
versions: [{name: v1, weight: 1}, {name: v2, weight: 0}]
rollout:
  to: v2
  steps: [1, 100]
  interval: 1m
  minRequests: 5
  onFailure: pause
  prometheus: http://prometheus:9090/p
  guards:
  - {metric: timeToFirstToken, quantile: 95, max: 500ms}
  - {metric: timePerOutputToken, quantile: 50, relativeTo: v1, maxRatio: 1.2}
  - {metric: outputTokens, quantile: 50, relativeTo: v1, minRatio: 0.5}
  - {metric: outputTokens, quantile: 50, min: 20}
  - {promql: a, min: 1, max: 2}
---
{versions: [{name: v1}, {name: v2}], weightsFrom: {httpRoute: chat, backends: {v1: chat-primary, v2: chat-canary}}}
---
{versions: [{name: v1}, {name: v2}], weightsFrom: {virtualService: chat.x, backends: {v2: b}}}
"""
BAD = """
{versions: [{name: v1, weight: 1}, {name: v2, weight: 0}], rollout: {to: v2}}
---
{versions: [{name: v1, weight: 1}], rollout: {to: v2, guards: [{metric: errors, max: 1%}]}}
---
{rollout: {to: v2, guards: [{metric: errors, max: 1%}]}}
---
{versions: [{name: v1, weight: 1}, {name: v2, weight: 1}], rollout: {to: v2, guards: [{metric: errors, max: 1%}]}}
---
{versions: [{name: v1, weight: 0}, {name: v2, weight: 0}], rollout: {to: v2, guards: [{metric: errors, max: 1%}]}}
---
{versions: [{name: v2}], rollout: {to: v2, guards: [{metric: errors, max: 1%}]}}
---
{versions: [{name: v1}, {name: v2}], rollout: {to: v2, guards: [{metric: errors, max: 1%}], interval: 5}}
---
{versions: [{name: v1}, {name: v2}], rollout: {to: v2, guards: [{metric: errors, max: 1%}], minRequests: 0}}
---
{versions: [{name: v1}, {name: v2}], rollout: {to: v2, guards: [{metric: errors, max: 1%}], onFailure: abort}}
---
{versions: [{name: v1}, {name: v2}], rollout: {to: v2, guards: [{metric: errors, max: 1%}], prometheus: "a:9090"}}
---
{versions: [{name: v1}, {name: v2}], weightsFrom: {backends: {v1: a}}}
---
{versions: [{name: v1}, {name: v2}], weightsFrom: {httpRoute: a}}
---
{versions: [{name: v1}, {name: v2}], weightsFrom: {httpRoute: a, backends: {}}}
---
{versions: [{name: v1}, {name: v2}], weightsFrom: {httpRoute: a, virtualService: a, backends: {v1: a}}}
---
{versions: [{name: v1}, {name: v2}], weightsFrom: {httpRoute: A, backends: {v1: a}}}
---
{versions: [{name: v1}, {name: v2}], weightsFrom: {httpRoute: a, backends: {v1: a b}}}
---
{versions: [{name: v1}, {name: v2}], weightsFrom: {httpRoute: a, backends: {v3: a}}}
---
{versions: [{name: v1}, {name: m, mirror: 5}], weightsFrom: {httpRoute: a, backends: {m: a}}}
---
{weightsFrom: {httpRoute: a, backends: {v1: a}}}
---
versions: [{name: v1}, {name: v2}]
rollout: {to: v2, guards: [{metric: errors, max: 1%}]}
weightsFrom: {httpRoute: a, backends: {v1: a}}
"""
BAD_GUARDS = """

{max: 1}
{metric: errors, promql: a, max: 1%}
{metric: errors}
{metric: errors, max: 1%, quantile: 5}
{promql: a}
{promql: a, min: 1, quantile: 5}
{metric: latency, quantile: 5, max: 1s}
{metric: timeToFirstToken, max: 1s}
{metric: timeToFirstToken, quantile: 95}
{metric: timeToFirstToken, quantile: 95, min: 1}
{metric: timeToFirstToken, quantile: 95, maxRatio: 1}
{metric: timeToFirstToken, quantile: 95, relativeTo: v1, max: 1s}
{metric: timeToFirstToken, quantile: 95, relativeTo: v2, maxRatio: 1}
{metric: timeToFirstToken, quantile: 95, relativeTo: v3, maxRatio: 1}
{metric: outputTokens, quantile: 50, relativeTo: v1, maxRatio: 2}
{metric: outputTokens, quantile: 100, min: 2}
"""
BAD += "".join(
    f"---\n{{versions: [{{name: v1}}, {{name: v2}}], rollout: {{to: v2, guards: [{guard}]}}}}\n"
    for guard in BAD_GUARDS.splitlines()
)


@pytest.mark.parametrize("document", documents("ModelInferencePolicy", GOOD), ids=str)
def test_what_check_takes_is_taken(document: dict[str, Any]) -> None:
    assert checked(document) == ""
    assert refused(document) == []


@pytest.mark.parametrize("document", documents("ModelInferencePolicy", BAD), ids=str)
def test_what_check_refuses_is_refused(document: dict[str, Any]) -> None:
    assert checked(document) != ""
    assert refused(document) != []


def test_the_crd_knows_the_same_metrics() -> None:
    (version,) = CRDS["ModelInferencePolicy"]["spec"]["versions"]
    spec = version["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"]
    guard = spec["rollout"]["properties"]["guards"]["items"]["properties"]
    assert guard["metric"]["enum"] == list(METRICS)

"""Guards as Flagger and Argo Rollouts ask for them: a query for each, with its bounds, in manifests that CRDs take."""

from __future__ import annotations

import re

import pytest

from extproc.policy.snapshot import Policy, Snapshot
from extproc.render.delivery import DEFAULT_GUARDS, argo, flagger, queries
from tests.manifests import crds
from tests.policy_documents import policy, snapshot_of

ROLLOUT = snapshot_of(
    policy(
        """
        models: [chat, "chat-*"]
        versions: [{name: v1, weight: 1}, {name: v2, weight: 0}]
        rollout:
          to: v2
          interval: 90s
          prometheus: http://p:9090
          guards:
          - {metric: errors, max: 1%}
          - {metric: timeToFirstToken, quantile: 99.9, max: 500ms}
          - {metric: timePerOutputToken, quantile: 50, relativeTo: v1, maxRatio: 1.2}
          - {metric: outputTokens, quantile: 50, relativeTo: v1, minRatio: 0.5}
          - {promql: "first", min: 0.8, max: 2}
          - {promql: "second", min: 1}
        """
    )
)
PLAIN = Snapshot((Policy("Chat.Bot", namespace="ai", models=("chat",)),))


def test_each_guard_has_a_name_of_its_own_and_its_bounds() -> None:
    found = {query.name: (query.minimum, query.maximum) for query in queries(ROLLOUT.policies[0], "v2", "5m")}
    assert found == {
        "errors": (None, 0.01),
        "time-to-first-token-p99-9": (None, 0.5),
        "time-per-output-token-p50-by-v1": (None, 1.2),
        "output-tokens-by-v1": (0.5, None),
        "query": (0.8, 2),
        "query-2": (1, None),
    }


def test_flagger_fills_in_version_and_interval() -> None:
    found = {one["metadata"]["name"]: one["spec"] for one in flagger(ROLLOUT)}
    spec = found["chat-time-to-first-token-p99-9"]
    assert spec["provider"] == {"type": "prometheus", "address": "http://p:9090"}
    assert spec["query"].startswith("histogram_quantile(0.999, sum by (le) (rate(inference_time_to_first_token_")
    assert spec["query"].endswith(', version="{{ variables.version }}"}[{{ interval }}])))')
    assert found["chat-query"]["query"] == "first"


def test_argo_says_what_passes_what_fails_and_what_is_not_known() -> None:
    (template,) = argo(ROLLOUT, "http://other")
    assert [argument["name"] for argument in template["spec"]["args"]] == ["version", "window"]
    errors, *_, second = template["spec"]["metrics"]
    assert errors["interval"] == "90s"
    assert errors["successCondition"] == "len(result) > 0 && !isNaN(result[0]) && (result[0] <= 0.01)"
    assert errors["failureCondition"] == "len(result) > 0 && !isNaN(result[0]) && !(result[0] <= 0.01)"
    assert errors["provider"]["prometheus"]["address"] == "http://other"
    assert second["successCondition"].endswith("(result[0] >= 1)")
    assert "{{args.version}}" in errors["provider"]["prometheus"]["query"]


def test_a_policy_whose_weights_another_tool_moves_has_the_usual_guards() -> None:
    names = [one["metadata"] for one in flagger(PLAIN)]
    assert len(names) == len(DEFAULT_GUARDS)
    assert names[0] == {"name": "chat-bot-errors", "namespace": "ai"}
    assert all(re.fullmatch("[a-z0-9]([-a-z0-9]*[a-z0-9])?", name["name"]) for name in names)


@crds.needed
@pytest.mark.parametrize("snapshot", [ROLLOUT, PLAIN], ids=["rollout", "plain"])
def test_their_crds_take_them(snapshot: Snapshot) -> None:
    for manifest in (*flagger(snapshot), *argo(snapshot)):
        try:
            assert crds.problems(manifest) == []
        except crds.UnknownKindError:
            pytest.skip(f"no CRD of {manifest['kind']} in ../shared/crds beside the checkout")

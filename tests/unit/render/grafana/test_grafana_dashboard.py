"""The dashboard: its rows by what policies have, variables, and queries for series that there are."""

from __future__ import annotations

import json
import re

import pytest

from extproc.policy.rollout_plan import RolloutPlan
from extproc.policy.snapshot import Objective, Slo, Snapshot
from extproc.render.grafana.dashboard import VARIABLES, dashboard
from extproc.render.prometheus.rule_groups import rule_groups
from extproc.render.source_names import SOURCES, Source
from extproc.telemetry.metrics import Metrics
from tests.unit.render.snapshots import CANARY, MIRRORED, PLAIN, Doc, policy

PROMISES = Slo(99.9, Objective(0.5, 95.0), Objective(10.0, 99.0), days=7)
SNAPSHOT = Snapshot((policy(versions=CANARY.policies[0].versions, slo=PROMISES), *PLAIN.policies))
ROLLOUT = Snapshot((policy(versions=CANARY.policies[0].versions, rollout=RolloutPlan("v2", ())),))
MADE = dashboard(SNAPSHOT)
PANELS: list[Doc] = [panel for panel in MADE["panels"] if panel["type"] != "row"]


def rows(snapshot: Snapshot) -> list[str]:
    return [panel["title"] for panel in dashboard(snapshot)["panels"] if panel["type"] == "row"]


def queries() -> list[str]:
    """Every query for data, as Grafana sends it with All chosen everywhere."""
    found = [target["expr"] for panel in PANELS for target in panel["targets"]]
    found += [annotation["expr"] for annotation in MADE["annotations"]["list"]]
    for name in VARIABLES:
        found = [query.replace(f"${name}", ".*") for query in found]
    return found


@pytest.mark.parametrize(
    ("snapshot", "titles"),
    [
        (Snapshot(), ["Golden metrics", "Tokens", "The processor"]),
        (MIRRORED, ["Golden metrics", "Tokens", "The processor"]),
        (CANARY, ["Golden metrics", "Canaries", "Tokens", "The processor"]),
        (ROLLOUT, ["Golden metrics", "Rollouts", "Canaries", "Tokens", "The processor"]),
        (Snapshot((policy(slo=Slo(99.0)),)), ["Golden metrics", "Error budgets", "Tokens", "The processor"]),
        (SNAPSHOT, ["Golden metrics", "Error budgets", "Canaries", "Tokens", "The processor"]),
    ],
)
def test_rows_are_there_where_a_policy_has_something_to_show(snapshot: Snapshot, titles: list[str]) -> None:
    assert rows(snapshot) == titles


def test_every_panel_says_what_it_shows() -> None:
    for panel in PANELS:
        assert panel["title"]
        assert panel["description"]
        assert panel["targets"]
        assert panel["fieldConfig"]["defaults"]["unit"]
        assert panel["datasource"] == {"type": "prometheus", "uid": "${datasource}"}


def test_variables_are_declared_and_used() -> None:
    declared = {variable["name"] for variable in MADE["templating"]["list"]}
    used = set(re.findall(r"\$\{?([a-z_]+)", json.dumps([PANELS, MADE["templating"]]))) - {"__rate_interval", "__all"}
    assert used == declared == {"datasource", *VARIABLES}


def test_a_variable_is_narrowed_by_those_before_it() -> None:
    found = {one["name"]: one["query"]["query"] for one in MADE["templating"]["list"][1:]}
    series = "version_pool:inference_requests:rate5m"
    assert found["policy"] == f"label_values({series}{{}}, policy)"
    assert found["pool"] == (
        f'label_values({series}{{policy=~"$policy", model=~"$model", version=~"$version"}}, gpu_pool)'
    )


@pytest.mark.parametrize("source", SOURCES)
def test_every_metric_is_recorded_or_the_processor_s(source: Source) -> None:
    rules = [rule for group in rule_groups(SNAPSHOT, source) for rule in group["rules"]]
    recorded = {rule["record"] for rule in rules if "record" in rule}
    exported = {metric.name for metric in Metrics().collect()}
    for query in queries():
        names = set(re.findall(r"[a-z_]+:[a-z0-9_:]+|(?:inference|extproc)_[a-z_]+", query))
        assert {re.sub(r"_(bucket|total)$", "", name) for name in names - recorded} <= exported, query


def test_burn_rates_have_the_line_at_which_somebody_is_paged() -> None:
    limits = {
        panel["title"]: panel["fieldConfig"]["defaults"]["thresholds"]["steps"][1]["value"]
        for panel in PANELS
        if panel["title"].startswith("Burn rate")
    }
    assert limits == {"Burn rate over 1h": pytest.approx(3.36), "Burn rate over 6h": pytest.approx(1.4)}


def test_it_is_json_that_grafana_imports() -> None:
    assert json.loads(json.dumps(MADE)) == MADE
    assert (MADE["uid"], MADE["schemaVersion"]) == ("aimesh-inference", 42)
    assert len({panel["id"] for panel in MADE["panels"]}) == len(MADE["panels"])

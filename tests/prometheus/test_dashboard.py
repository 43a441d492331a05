"""The Grafana dashboard: as Grafana's own models have it, nothing on top of another, every query one of Prometheus'."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.cog.plugins import register_default_plugins
from grafana_foundation_sdk.models.dashboard import Dashboard

from extproc.render.grafana.dashboard import VARIABLES, dashboard
from extproc.render.source_names import Source
from tests.policy_documents import load_texts, policy, pool, snapshot_of
from tests.prometheus.conftest import STEP, Judge, steady
from tests.prometheus.test_promtool import POLICIES
from tests.prometheus.test_rules_golden import CHAT, LONG, traffic

SNAPSHOT = load_texts([("policy.yaml", POLICIES["the reference page's"])]).snapshot
MADE = dashboard(SNAPSHOT)
PANELS = [panel for panel in MADE["panels"] if panel["type"] != "row"]
OF_THE_PROMETHEUS_PLUGIN = {"titleFormat", "textFormat", "step"}
"""Fields of annotations that Grafana's schema leaves to the data source."""


def queries(made: dict[str, Any]) -> list[str]:
    """Every query for data in the dashboard, as its reader sends it after choosing All."""
    asked = [target["expr"] for panel in made["panels"] for target in panel.get("targets", [])]
    asked += [annotation["expr"] for annotation in made["annotations"]["list"]]
    return [all_chosen(query) for query in asked]


def all_chosen(query: str) -> str:
    for name in VARIABLES:
        query = query.replace(f"${name}", ".*")
    return query.replace("$__rate_interval", "1m")


def _lost(ours: Any, theirs: Any, path: str = "") -> list[str]:
    """What of ``ours`` is not in ``theirs``."""
    if isinstance(ours, dict):
        missing = [f"{path}.{key}" for key in ours if key not in theirs and key not in OF_THE_PROMETHEUS_PLUGIN]
        return missing + [m for key in ours if key in theirs for m in _lost(ours[key], theirs[key], f"{path}.{key}")]
    if isinstance(ours, list):
        pairs = zip(ours, theirs, strict=True)
        return [m for i, (mine, its) in enumerate(pairs) for m in _lost(mine, its, f"{path}[{i}]")]
    return [] if ours == theirs else [f"{path}: {theirs!r}"]


def _read_by_grafana(made: dict[str, Any]) -> Any:
    register_default_plugins()
    return json.loads(JSONEncoder(sort_keys=True, indent=2).encode(Dashboard.from_json(made)))


@pytest.mark.parametrize("name", POLICIES)
def test_grafana_s_models_know_every_field(name: str) -> None:
    made = dashboard(load_texts([(name, POLICIES[name])]).snapshot)
    assert _lost(made, _read_by_grafana(made)) == []


def test_a_field_that_grafana_does_not_know_is_seen() -> None:
    wrong = json.loads(json.dumps(MADE))
    wrong["panels"][1]["options"]["colourMode"] = "value"
    assert _lost(wrong, _read_by_grafana(wrong)) == [".panels[1].options.colourMode"]


def test_prometheus_reads_every_query(promtool: str, tmp_path: Path) -> None:
    rules = [{"record": f"query:{i}", "expr": query} for i, query in enumerate(queries(MADE))]
    file = tmp_path / "queries.yaml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "queries", "rules": rules}]}))
    checked = subprocess.run([promtool, "check", "rules", str(file)], capture_output=True, text=True)
    assert checked.returncode == 0, checked.stdout + checked.stderr


@pytest.mark.parametrize("source", ["istio", "linkerd"])
def test_on_every_mesh_every_panel_has_data(source: Source, judge: Judge) -> None:
    """What a mesh's proxies count, and the processor's own: with the demo behind Envoy see ``test_scraped``."""
    slo = "observability: {slo: {availability: 99.9}}"
    snapshot = snapshot_of(policy(CHAT + slo), pool("product: NVIDIA-A100-SXM4-80GB\nendpoints: ['10.0.0.1:8000']"))
    who = 'model="llama", version="v1", gpu_pool="a100-west"'
    series = traffic(source)
    for name in ("time_to_first_token", "time_per_output_token"):
        for bound in ("0.1", "+Inf"):
            series[f'inference_{name}_seconds_bucket{{{who}, le="{bound}"}}'] = steady(1, LONG)
    series |= {
        f'inference_tokens_total{{{who}, type="output"}}': steady(100, LONG),
        f"inference_observed_requests_total{{{who}}}": steady(1, LONG),
        'extproc_message_duration_seconds_bucket{phase="request_headers", le="0.001"}': steady(10, LONG),
        'extproc_message_duration_seconds_bucket{phase="request_headers", le="+Inf"}': steady(10, LONG),
        'extproc_streams{instance="one"}': f"3x{LONG // STEP}",
        'extproc_policy_info{generation="1"}': f"1x{LONG // STEP}",
        'extproc_policy_reloads_total{result="success"}': f"0x{LONG // STEP}",
        'inference_unmatched_total{reason="no_api"}': steady(1, LONG),
    }
    asked = [target["expr"] for panel in dashboard(snapshot)["panels"] for target in panel.get("targets", [])]
    judge(snapshot, source, series, "30m", {f"count({all_chosen(query)}) > bool 0": {"{}": 1} for query in asked})


def test_the_panels_of_rollouts_have_data(judge: Judge) -> None:
    versions = "versions: [{name: v1, weight: 1}, {name: v2, weight: 0}]\n"
    snapshot = snapshot_of(policy(f"{versions}rollout: {{to: v2, guards: [{{metric: errors, max: 1%}}]}}"))
    who = 'policy="chat", version="v2"'
    series = {
        f"inference_rollout_step{{{who}}}": f"5x{LONG // STEP}",
        f'inference_rollout_verdict{{{who}, guard="errors ≤ 1%"}}': f"-1x{LONG // STEP}",
        f'inference_rollout_phase{{{who}, phase="Progressing"}}': f"1x{LONG // STEP}",
        f"inference_rollout_fault{{{who}}}": f"0x{LONG // STEP}",
    }
    asked = [target["expr"] for panel in dashboard(snapshot)["panels"] for target in panel.get("targets", [])]
    asked = [all_chosen(query) for query in asked if "inference_rollout" in query]
    assert len(asked) == 4
    judge(snapshot, "extproc", series, "30m", {f"count({query}) > bool 0": {"{}": 1} for query in asked})

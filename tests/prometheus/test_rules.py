"""Rules files: promtool takes what `extproc render rules` prints, of every policy for every source."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest
import yaml

from extproc import demo
from extproc.cli.main import main
from extproc.policyfile import loader
from extproc.render.document import to_yaml
from extproc.render.prometheus.rules import rule_groups
from extproc.render.source_names import SOURCES, Source
from tests.policy_documents import file, policy, snapshot_of

ROOT = Path(__file__).parents[2]
ARTICLE = """
apiVersion: ai.istio.io/v1alpha1
kind: ModelInferencePolicy
metadata: {name: gpu-optimized-routing}
spec:
  selector: {matchLabels: {app: model-inference}}
  gpuRequirements: {minMemory: 8Gi, architecture: "a100"}
  trafficManagement: {timeout: 60s, retryBudget: {minRetriesPerSecond: 10, retryRatio: 0.25}}
  observability:
    customMetrics:
    - {name: "inference_throughput", type: GAUGE, labels: ["model_version", "gpu_type"]}
    - {name: "feature_cache_hit_ratio", type: GAUGE, labels: ["model_name"]}
"""


def _reference() -> str:
    (example,) = re.findall(r"<!-- example -->\n```yaml\n(.*?)```", (ROOT / "docs/policy.md").read_text(), re.DOTALL)
    return str(example)


POLICIES = {
    "the article's": ARTICLE,
    "the reference page's": _reference(),
    "the demo's": Path(demo.__file__).with_name("policy.yaml").read_text(),
    "alike in name": file(
        policy("models: [a]\nobservability: {slo: {availability: 99}}", "chat"),
        policy("models: [b]", "chat.slo"),
        policy("models: [c]", "processor"),
    ),
    "strange": file(
        policy("models: ['a.b|c(d)*', 'quote\"d', 'back\\slash', 'é*']\nversions: [{name: v.1}, {name: V_2}]"),
        policy("models: ['*']\nobservability: {slo: {duration: {under: 10s, target: 99}, window: 7d}}", "rest"),
    ),
}


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("name", POLICIES)
def test_promtool_finds_nothing_to_complain_of(promtool: str, tmp_path: Path, name: str, source: Source) -> None:
    rules = tmp_path / "rules.yaml"
    rules.write_text(to_yaml({"groups": rule_groups(loader.parse([(name, POLICIES[name])]).snapshot, source)}))
    checked = subprocess.run(
        [promtool, "check", "rules", "--lint=all", "--lint-fatal", str(rules)], capture_output=True, text=True
    )
    assert checked.returncode == 0, checked.stdout + checked.stderr
    assert "SUCCESS" in checked.stdout


def test_the_command_prints_the_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = tmp_path / "policy.yaml"
    source.write_text(_reference())
    assert main(["render", "rules", "-f", str(source), "--source", "istio"]) == 0
    printed = yaml.safe_load(capsys.readouterr().out)
    assert printed == {"groups": rule_groups(loader.load([source]).snapshot, "istio")}
    assert [group["name"] for group in printed["groups"]] == [
        *("aimesh/chat", "aimesh/chat/slo", "aimesh/chat/canary"),
        "aimesh",
    ]


def test_what_alerts_say_is_said_of_every_source() -> None:
    """Alerts build on what is recorded: only the one on Envoy's own counter needs a certain source."""
    versions = "[{name: v1, weight: 1}, {name: v2, weight: 1}]"
    snapshot = snapshot_of(policy(f"models: [a]\nversions: {versions}\nobservability: {{slo: {{availability: 99}}}}"))
    alerts = {
        source: [rule for group in rule_groups(snapshot, source) for rule in group["rules"] if "alert" in rule]
        for source in SOURCES
    }
    assert alerts["istio"] == alerts["linkerd"]
    extra = [rule["alert"] for rule in alerts["extproc"] if rule not in alerts["istio"]]
    assert extra == ["InferenceFailedOpen"]

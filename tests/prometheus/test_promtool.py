"""Rules files: promtool takes what `extproc render rules` prints, of every policy for every source."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from extproc import demo
from extproc.render.document import to_yaml
from extproc.render.prometheus.rule_groups import rule_groups
from extproc.render.source_names import SOURCES, Source
from tests.policy_documents import file, load_texts, policy

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
    rules.write_text(to_yaml({"groups": rule_groups(load_texts([(name, POLICIES[name])]).snapshot, source)}))
    checked = subprocess.run(
        [promtool, "check", "rules", "--lint=all", "--lint-fatal", str(rules)], capture_output=True, text=True
    )
    assert checked.returncode == 0, checked.stdout + checked.stderr
    assert "SUCCESS" in checked.stdout

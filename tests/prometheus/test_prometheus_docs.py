"""docs/prometheus.md: what it lists is what is rendered, and what it says to run works."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import yaml

from extproc.render.prometheus.rule_groups import rule_groups
from extproc.render.source_names import SOURCES
from tests.prometheus.test_dashboard import SNAPSHOT
from tests.prometheus.test_promtool import POLICIES

PAGE = (Path(__file__).parents[2] / "docs" / "prometheus.md").read_text()
RULES = [rule for source in SOURCES for group in rule_groups(SNAPSHOT, source) for rule in group["rules"]]


def example(mark: str) -> str:
    """The block of the page below ``mark``."""
    (found,) = re.findall(rf"<!-- {mark} -->\n```[a-z]+\n(.*?)```", PAGE, re.DOTALL)
    return str(found)


def test_every_series_and_alert_is_in_its_table() -> None:
    listed = set(re.findall(r"`((?:version_pool|version|canary):[a-z0-9_:]+)`", PAGE))
    assert listed == {rule["record"] for rule in RULES if "record" in rule}
    alerts = dict(re.findall(r"^\| `(Inference\w+)` \| (\w+) \|", PAGE, re.MULTILINE))
    severities: dict[str, set[str]] = {}
    for rule in RULES:
        if "alert" in rule:
            severities.setdefault(rule["alert"], set()).add(rule["labels"]["severity"])
    assert alerts == {name: "both" if len(of) > 1 else next(iter(of)) for name, of in severities.items()}


def test_the_rule_for_the_operator_has_the_same_groups(tmp_path: Path) -> None:
    (tmp_path / "policy.yaml").write_text(POLICIES["the reference page's"])
    (tmp_path / "extproc").write_text(f'#!/bin/sh\nexec {sys.executable} -m extproc "$@"\n')
    (tmp_path / "extproc").chmod(0o755)
    env = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"}
    subprocess.run(["/bin/sh", "-ec", example("operator")], cwd=tmp_path, env=env, check=True)
    made = yaml.safe_load((tmp_path / "prometheusrule.yaml").read_text())
    assert made["kind"] == "PrometheusRule"
    assert made["spec"] == {"groups": rule_groups(SNAPSHOT, "linkerd")}


def test_prometheus_takes_the_configuration(promtool: str, tmp_path: Path) -> None:
    (tmp_path / "prometheus.yaml").write_text(example("configuration"))
    query = {"record": "query:recorded", "expr": example("recorded")}
    (tmp_path / "aimesh.rules.yaml").write_text(yaml.safe_dump({"groups": [{"name": "page", "rules": [query]}]}))
    checked = subprocess.run(
        [promtool, "check", "config", "prometheus.yaml"], cwd=tmp_path, capture_output=True, text=True
    )
    assert checked.returncode == 0, checked.stdout + checked.stderr

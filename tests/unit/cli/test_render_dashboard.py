"""`extproc render dashboard`: JSON for Grafana on stdout."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from extproc.cli.main import main
from tests.policy_documents import policy
from tests.unit.cli.command_lines import flags, help_of


def test_flags(capsys: pytest.CaptureFixture[str]) -> None:
    given = flags("render", "dashboard", "-f", "a", "--file", "b")
    assert given == {"file": [Path("a"), Path("b")], "stage": [], "proxies": "istio"}
    assert "Grafana: Dashboards, New, Import" in help_of(capsys, "render", "dashboard")


def test_json_of_the_policies_given(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "policy.yaml"
    file.write_text(policy("versions: [{name: v1, weight: 9}, {name: v2, weight: 1}]"))
    assert main(["render", "dashboard", "-f", str(file)]) == 0
    printed = capsys.readouterr().out
    assert printed.endswith("}\n")
    found = json.loads(printed)
    assert found["uid"] == "aimesh-inference"
    assert "Canaries" in [panel["title"] for panel in found["panels"] if panel["type"] == "row"]


def test_stages_have_rows(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "policy.yaml"
    file.write_text(policy("versions: [{name: v1, weight: 9}]"))
    stages = ["--stage", "preprocess", "--stage", "postprocess", "--proxies", "linkerd"]
    assert main(["render", "dashboard", "-f", str(file), *stages]) == 0
    panels = json.loads(capsys.readouterr().out)["panels"]
    assert {"Stage: preprocess", "Stage: postprocess"} <= {panel["title"] for panel in panels}
    assert any('deployment="preprocess"' in one["expr"] for panel in panels for one in panel.get("targets", []))


def test_a_bad_policy_renders_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "policy.yaml"
    file.write_text(policy("port: 0"))
    assert main(["render", "dashboard", "-f", str(file)]) == 2
    printed = capsys.readouterr()
    assert (printed.out, "spec.port: 0 is out of range" in printed.err) == ("", True)

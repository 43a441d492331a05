"""`extproc render argo`: manifests on stdout, of the policies that are named."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from extproc.cli.main import main
from tests.policy_documents import policy


def test_manifests_on_stdout(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "policy.yaml"
    file.write_text(policy("models: [chat]\nversions: [{name: v1}, {name: v2}]"))
    assert main(["render", "argo", "-f", str(file), "--prometheus", "http://p:9090"]) == 0
    found = list(yaml.safe_load_all(capsys.readouterr().out))
    assert [one["kind"] for one in found] == ["AnalysisTemplate"] * 1
    assert all("http://p:9090" in str(one) for one in found)

"""What `extproc render argo` and `extproc render flagger` share: their flags, and manifests on stdout."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from extproc.cli.main import main
from tests.policy_documents import policy

TOOLS = pytest.mark.parametrize("tool", ["argo", "flagger"])


@TOOLS
def test_without_an_address_prometheus_is_that_of_the_rollout(
    tool: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "policy.yaml"
    file.write_text(
        policy(
            """\
            versions: [{name: v1, weight: 1}, {name: v2, weight: 0}]
            rollout: {to: v2, prometheus: "http://their:9090", guards: [{metric: errors, max: 1%}]}
            """
        )
    )
    assert main(["render", tool, "-f", str(file)]) == 0
    (manifest,) = yaml.safe_load_all(capsys.readouterr().out)
    assert "http://their:9090" in str(manifest)


@TOOLS
def test_of_a_policy_that_is_wrong_nothing_is_written(
    tool: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "policy.yaml"
    file.write_text(policy("versions: no"))
    assert main(["render", tool, "-f", str(file)]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert "spec.versions" in said.err

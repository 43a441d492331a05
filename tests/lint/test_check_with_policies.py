"""`extproc check --istio … -f …`: manifests, and the policies from which they should be rendered."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from extproc.cli.main import main


def test_check_takes_both(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    policy, rendered = tmp_path / "policy.yaml", tmp_path / "rendered.yaml"
    kind = "apiVersion: ai.istio.io/v1alpha1\nkind: ModelInferencePolicy\nmetadata: {name: chat}\n"
    text = kind + "spec: {host: chat, models: [llama], versions: [{name: v1, weight: 1}]}\n"
    policy.write_text(text)
    assert main(["render", "istio", "-f", str(policy)]) == 0
    rendered.write_text(capsys.readouterr().out)
    both = ["check", "--istio", str(rendered), "-f", str(policy), "--json"]
    assert main(both) == 0
    assert json.loads(capsys.readouterr().out)["findings"] == []
    policy.write_text(text.replace("name: v1", "name: v2"))
    assert main(both) == 1
    (found,) = json.loads(capsys.readouterr().out)["findings"]
    assert (found["code"], "versions (lacks chat/v2; still has chat/v1)" in found["message"]) == ("AIM601", True)
    policy.write_text("kind: nonsense")
    assert main(both) == 2
    with pytest.raises(SystemExit) as misused:
        main(["check"])
    assert misused.value.code == 2

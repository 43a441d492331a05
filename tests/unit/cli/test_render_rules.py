"""`extproc render rules`: a rules file on stdout, for the source that is asked for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from extproc.cli.main import main
from extproc.render.source_names import SOURCES
from tests.policy_documents import policy
from tests.unit.cli.command_lines import flags, help_of, refused

COUNTERS = {
    "extproc": "inference_requests_total",
    "istio": "istio_requests_total",
    "linkerd": "outbound_http_route_backend_response_statuses_total",
}


def test_defaults() -> None:
    assert flags("render", "rules", "-f", "p") == {"file": [Path("p")], "source": "extproc"}


@pytest.mark.parametrize("source", SOURCES)
def test_a_file_for_each_source(source: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "policy.yaml"
    file.write_text(policy("models: [llama]\nhost: chat.ai"))
    assert main(["render", "rules", "-f", str(file), "--source", source]) == 0
    found: dict[str, Any] = yaml.safe_load(capsys.readouterr().out)
    assert [group["name"] for group in found["groups"]] == ["aimesh/chat", "aimesh"]
    requests = found["groups"][0]["rules"][0]
    assert requests["record"] == "version_pool:inference_requests:rate5m"
    assert COUNTERS[source] in requests["expr"]


def test_a_source_that_there_is_none_of(capsys: pytest.CaptureFixture[str]) -> None:
    said = refused(capsys, "render", "rules", "-f", "p", "--source", "consul")
    assert "--source: invalid choice: 'consul'" in said
    assert "{extproc,istio,linkerd}" in help_of(capsys, "render", "rules")

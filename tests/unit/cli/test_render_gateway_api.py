"""`extproc render gateway-api`: manifests on stdout, what to know on stderr."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from extproc.cli.main import main
from tests.policy_documents import policy


@pytest.fixture
def path(tmp_path: Path) -> str:
    file = tmp_path / "policy.yaml"
    file.write_text(policy("host: chat"))
    return str(file)


def test_every_flag_counts(capsys: pytest.CaptureFixture[str], path: str) -> None:
    words = (
        "--flavor gke --gateway infra/public --gateway-class gke-l7-global-external-managed --namespace ai "
        "--host llm.example.com --processor p.infra:1"
    )
    assert main(["render", "gateway-api", "-f", path, *words.split()]) == 0
    printed = capsys.readouterr()
    found = {doc["kind"]: doc for doc in yaml.safe_load_all(printed.out)}
    assert found.keys() == {"HTTPRoute", "HealthCheckPolicy", "GCPTrafficExtension"}
    route = found["HTTPRoute"]
    assert (route["metadata"]["namespace"], route["spec"]["hostnames"]) == ("ai", ["llm.example.com"])
    (chain,) = found["GCPTrafficExtension"]["spec"]["extensionChains"]
    assert chain["extensions"][0]["backendRef"]["port"] == 1
    assert "extproc: bodies come FULL_DUPLEX_STREAMED" in printed.err


def test_what_it_can_not_do_is_one_line(capsys: pytest.CaptureFixture[str], path: str) -> None:
    assert main(["render", "gateway-api", "-f", path, "--flavor", "kgateway", "--processor", "10.0.0.1:1"]) == 1
    printed = capsys.readouterr()
    assert (printed.out, "'10.0.0.1:1' is no Service" in printed.err) == ("", True)

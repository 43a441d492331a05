"""`extproc explain`: its flags, and the explanation as JSON."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from extproc.cli.main import main
from tests.policy_documents import policy
from tests.unit.cli.command_lines import flags, help_of, refused
from tests.unit.cli.stub_servers import admin_port


@pytest.fixture
def path(tmp_path: Path) -> str:
    file = tmp_path / "policy.yaml"
    file.write_text(policy("models: [llama]\nversions: [{name: v1, weight: 0}, {name: v2, weight: 1}]\nallowPin: true"))
    return str(file)


def test_defaults_and_every_flag() -> None:
    assert flags("explain", "-f", "p", "--path", "/") == {
        "file": [Path("p")],
        "method": "POST",
        "path": "/",
        "header": [],
        "body": b"",
        "locality": "",
        "endpoints": None,
    }
    words = "-f a -f b --method GET --path /p?q -H x:1 --body {} --locality us/a --endpoints http://a"
    assert flags("explain", *words.split()) == {
        "file": [Path("a"), Path("b")],
        "method": "GET",
        "path": "/p?q",
        "header": [("x", "1")],
        "body": b"{}",
        "locality": "us/a",
        "endpoints": "http://a",
    }


def test_what_is_missing(capsys: pytest.CaptureFixture[str]) -> None:
    assert refused(capsys, "explain").endswith("the following arguments are required: -f/--file, --path")


def test_help_has_examples(capsys: pytest.CaptureFixture[str]) -> None:
    assert "extproc explain -f policy.yaml --path /v1/completions -H 'x-user-id: ann'" in help_of(capsys, "explain")


def test_an_explanation(path: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", "-f", path, "--path", "/v1/chat/completions", "--body", '{"model": "llama"}']) == 0
    printed = capsys.readouterr().out
    assert printed.endswith("}\n")
    text = json.dumps(json.loads(printed))
    assert '"policy": "chat"' in text
    assert '"version": "v2"' in text


def test_headers_and_method_count(path: str, capsys: pytest.CaptureFixture[str]) -> None:
    request = ["explain", "-f", path, "--path", "/v1/chat/completions", "--body", '{"model": "llama"}']
    assert main([*request, "-H", "X-Model-Version: v1"]) == 0
    assert '"version": "v1"' in capsys.readouterr().out
    assert main([*request, "--method", "PUT"]) == 0
    assert '"policy": "chat"' not in capsys.readouterr().out


def test_a_policy_that_can_not_be_used(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", "-f", str(tmp_path / "none"), "--path", "/"]) == 2
    assert capsys.readouterr().out == ""


def test_scores_are_by_the_loads_that_a_processor_knows(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "picking.yaml"
    file.write_text(policy("versions: [{name: v1, endpoints: ['10.0.0.1:80']}]\npicking: {by: least-loaded}"))
    asked = ["explain", "-f", str(file), "--path", "/v1/completions", "--body", '{"model": "m"}', "--endpoints"]
    names = {"policy": "chat", "version": "v1", "gpu_pool": "none", "endpoint": "10.0.0.1:80"}
    load = {"waiting": 2, "running": 3, "cache": None, "gpu": None, "age": 0.1, "in_flight": 1.0, "picks": 0.0}
    with admin_port(live={"endpoints": [names | load | {"adapters": []}]}) as (processor, _):
        assert main([*asked, processor]) == main(asked) == 0
    told, unknown = (json.loads(text) for text in capsys.readouterr().out.replace("}\n{", "}\n\0{").split("\0"))
    assert told["scores"] == [{"endpoint": "10.0.0.1:80", "score": 6.0, "why": "5 requests (by its own report)"}]
    assert unknown["scores"] == [{"endpoint": "10.0.0.1:80", "score": 1.0, "why": "0 requests (it has told nothing)"}]
    assert main([*asked, processor]) == 1, "nobody answers any more"

"""The command ``linkerd-adapter``: machines read stdout, people stderr, and the exit status says how it went."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from linkerd_adapter.cli.main import COMMANDS, main, parser

from extproc import __version__
from tests.unit.linkerd_adapter.cli.conftest import POLICY


def test_what_is_wrong_is_told_and_nothing_is_rendered(policy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    policy.write_text(POLICY.replace("host: chat ", "host: api.example.com "))
    assert main(["render", "-f", str(policy)]) == 1
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert err.startswith("linkerd-adapter: policy chat: its host api.example.com is no Service of a cluster")
    policy.write_text(POLICY.replace("weight: 9", "weigth: 9"))
    assert main(["render", "-f", str(policy)]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert "policy.yaml:8" in err
    assert main(["explain", "-f", str(policy.with_name("gone.yaml")), "--path", "/"]) == 2
    for words in (["render"], ["render", "-f", str(policy), "--name", "Gate_way"], ["explain", "--namespace", "a.b"]):
        with pytest.raises(SystemExit) as left:
            main(words)
        assert left.value.code == 2


def test_it_is_installed_as_a_command(policy: Path) -> None:
    command = Path(sys.executable).with_name("linkerd-adapter")
    if not command.exists():
        pytest.skip("the project is not installed in this environment")
    shown = subprocess.run([command, "--help"], capture_output=True, text=True, check=True)
    assert "render" in shown.stdout
    assert "explain" in shown.stdout
    run = subprocess.run([command, "render", "-f", policy], capture_output=True, text=True, check=True)
    assert yaml.safe_load(run.stdout.partition("---\n")[0])["kind"] == "Service"


def test_commands_and_version(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        main(["--version"])
    assert (left.value.code, capsys.readouterr().out) == (0, f"linkerd-adapter {__version__}\n")
    with pytest.raises(SystemExit) as left:
        main(["deploy"])
    assert (left.value.code, capsys.readouterr().out) == (2, "")
    assert main([]) == 0
    assert capsys.readouterr().out.startswith("usage: linkerd-adapter ")
    assert [module.__name__.rpartition(".")[2] for module in COMMANDS] == ["render", "explain", "lint"]
    assert all(parser().parse_args(words).run is module.run for words, module in zip(WORDS, COMMANDS, strict=True))


WORDS = (["render", "-f", "p.yaml"], ["explain", "-f", "p.yaml", "--path", "/"], ["lint", "a.yaml"])

"""`extproc stat`: its flags, and the table of what an admin port remembers."""

from __future__ import annotations

import json

import pytest

from extproc.cli.main import main
from tests.unit.cli.command_lines import flags, help_of, refused
from tests.unit.cli.stub_servers import CONFIG, admin_port, recent, row


def test_defaults_and_every_flag() -> None:
    assert flags("stat") == {"sources": None, "window": 60.0, "endpoints": False, "watch": False, "json": False}
    assert flags(
        "stat", *["--from", "a:1", "--from", "b:2", "--window", "300", "--watch", "--json", "--endpoints"]
    ) == {
        "sources": ["a:1", "b:2"],
        "window": 300.0,
        "endpoints": True,
        "watch": True,
        "json": True,
    }


def test_a_window_that_no_processor_remembers(capsys: pytest.CaptureFixture[str]) -> None:
    assert refused(capsys, "stat", "--window", "301").endswith("--window: 301 is not between 1 and 300 seconds")


def test_help_has_examples(capsys: pytest.CaptureFixture[str]) -> None:
    assert "extproc stat --window 300 --json | jq" in help_of(capsys, "stat")


def test_json_of_the_processors_given(capsys: pytest.CaptureFixture[str]) -> None:
    document = recent(row("ann", "llama", "v1", "west", 10, failures=1))
    with admin_port(recent=document, config=CONFIG) as (one, _), admin_port(recent=document, config=CONFIG) as (two, _):
        assert main(["stat", "--from", one, "--from", f"http://{two}", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["replicas"] == [one, two]
    (only,) = found["rows"]
    assert (only["model"], only["success"], only["rps"]) == ("llama", 0.9, 2.0)


def test_without_an_address_the_processor_on_this_machine_is_asked(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with admin_port(recent=recent(), config=CONFIG) as (address, paths):
        monkeypatch.setattr("extproc.cli.stat.ADMIN", f"http://{address}")
        assert main(["stat"]) == 0
    assert sorted(paths) == ["/config", "/recent"]
    assert "llama" in capsys.readouterr().out


def test_an_address_that_is_none(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["stat", "--from", "https://h:1"]) == 1
    assert capsys.readouterr().err.startswith("extproc: 'https://h:1' is no admin port")

"""`extproc edges`: its flags, and callers by what they call."""

from __future__ import annotations

import json

import pytest

from extproc.cli.main import main
from tests.unit.cli.command_lines import flags, help_of, refused
from tests.unit.cli.stub_servers import CONFIG, admin_port, recent, row


def test_defaults_and_every_flag() -> None:
    assert flags("edges") == {"sources": None, "window": 60.0, "callers": 20, "watch": False, "json": False}
    assert flags("edges", *["--from", "a:1", "--window", "1", "--callers", "5", "--watch", "--json"]) == {
        "sources": ["a:1"],
        "window": 1.0,
        "callers": 5,
        "watch": True,
        "json": True,
    }


def test_bad_words(capsys: pytest.CaptureFixture[str]) -> None:
    assert "--callers: '0' is no number from 1" in refused(capsys, "edges", "--callers", "0")
    assert "--window: 0.5 is not between 1 and 300" in refused(capsys, "edges", "--window", "0.5")


def test_help_has_examples(capsys: pytest.CaptureFixture[str]) -> None:
    assert "extproc edges --json | jq -r '.rows[].caller'" in help_of(capsys, "edges")


def test_callers_beyond_those_asked_for_are_other(capsys: pytest.CaptureFixture[str]) -> None:
    rows = (row(name, "llama", "v1", "west", n) for n, name in enumerate(("ann", "bob", "eve"), 1))
    with admin_port(recent=recent(*rows), config=CONFIG) as (address, _):
        assert main(["edges", "--from", address, "--callers", "1", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [(one["caller"], one["rps"]) for one in found["rows"]] == [("eve", 0.3), ("other", 0.3)]

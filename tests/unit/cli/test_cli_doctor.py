"""`extproc doctor`: either an Envoy or its dumps, and the exit status of the diagnosis."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from extproc.cli.main import main
from tests.unit.cli.command_lines import flags, help_of, refused
from tests.unit.cli.stub_servers import admin_port

BOOTSTRAP = {"@type": "type.googleapis.com/envoy.admin.v3.BootstrapConfigDump", "bootstrap": {}}
NOTHING: dict[str, object] = {
    "envoy_admin": None,
    "config_dump": None,
    "file": None,
    "clusters": None,
    "stats": None,
    "json": False,
    "sources": [],
}


def test_defaults_and_every_flag() -> None:
    assert flags("doctor", "--envoy-admin", "http://a") == NOTHING | {"envoy_admin": "http://a"}
    words = "--config-dump d -f p --clusters c --stats s --json --from a --from b"
    assert flags("doctor", *words.split()) == NOTHING | {
        "config_dump": Path("d"),
        "file": [Path("p")],
        "clusters": Path("c"),
        "stats": Path("s"),
        "json": True,
        "sources": ["a", "b"],
    }


def test_there_is_one_source(capsys: pytest.CaptureFixture[str]) -> None:
    assert "one of the arguments --envoy-admin --config-dump is required" in refused(capsys, "doctor")
    both = refused(capsys, "doctor", "--envoy-admin", "http://a", "--config-dump", "d")
    assert "not allowed with argument --envoy-admin" in both


def test_help_has_examples(capsys: pytest.CaptureFixture[str]) -> None:
    assert "extproc doctor --config-dump dump.json -f policy.yaml" in help_of(capsys, "doctor")


def test_a_dump_without_our_filters_is_not_well(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    dump = tmp_path / "dump.json"
    dump.write_text(json.dumps({"configs": [BOOTSTRAP]}))
    assert main(["doctor", "--config-dump", str(dump), "--json"]) == 1
    found = json.loads(capsys.readouterr().out)
    assert found["source"] == str(dump)
    assert [finding["code"] for finding in found["findings"]] == ["AIM701"]


def test_dumps_do_not_go_with_an_envoy(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", "--envoy-admin", "http://127.0.0.1:1", "--stats", "s"]) == 1
    assert "--clusters and --stats belong to --config-dump" in capsys.readouterr().err


def test_processors_are_asked_where_requests_went(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    dump = tmp_path / "dump.json"
    dump.write_text(json.dumps({"configs": [BOOTSTRAP]}))
    with (
        admin_port(live={"errors": {"not_as_decided": 2}}) as (first, _),
        admin_port(live={"errors": {}}) as (other, _),
    ):
        assert main(["doctor", "--config-dump", str(dump), "--json", "--from", first, "--from", other]) == 1
    found = json.loads(capsys.readouterr().out)["findings"]
    assert [(finding["code"], finding["file"]) for finding in found] == [("AIM701", str(dump)), ("AIM723", first)]


def test_a_processor_that_is_away(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    dump = tmp_path / "dump.json"
    dump.write_text(json.dumps({"configs": [BOOTSTRAP]}))
    assert main(["doctor", "--config-dump", str(dump), "--from", "127.0.0.1:1"]) == 1
    assert "127.0.0.1:1 does not answer" in capsys.readouterr().err

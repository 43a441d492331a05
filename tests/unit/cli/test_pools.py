"""`extproc pools`: its flags, its table, what it says where there is no cluster."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from msgspec.structs import replace

from extproc.cli.main import main
from extproc.cli.pools import table
from extproc.cli.terminal_text import NOTHING
from extproc.kubernetes import api
from extproc.kubernetes.found_pools import PoolRow
from tests.unit.cli.command_lines import flags, help_of
from tests.unit.cli.stub_servers import admin_port, recent
from tests.unit.kubernetes.memory_api import MemoryApi, made

WEST = PoolRow("ai", "west", "NVIDIA-A100-SXM4-80GB", 81920, "", ("n1", "n2"), 16, 3, 0.5, "")
MOON = PoolRow("ai", "moon", "", 0, "1g.5gb", (), 0, None, None, "no node has the labels zone=moon")


def test_defaults_and_every_flag(capsys: pytest.CaptureFixture[str]) -> None:
    assert flags("pools") == {"namespaces": None, "sources": None, "json": False}
    given = flags("pools", "--namespace", "a", "--namespace", "b", "--from", "c:1", "--json")
    assert given == {"namespaces": ["a", "b"], "sources": ["c:1"], "json": True}
    assert "extproc pools --namespace ai --json" in help_of(capsys, "pools")


def test_the_table() -> None:
    assert table([WEST, MOON]) == (
        "POOL     GPU                    MEMORY  MIG     NODES  GPUS  ENDPOINTS  FREE\n"
        f"ai/west  NVIDIA-A100-SXM4-80GB  80 GiB  {NOTHING}       2      16    3          50.00 %\n"
        f"ai/moon  {NOTHING}                      {NOTHING}       1g.5gb  0      0     {NOTHING}          {NOTHING}\n"
        "  no node has the labels zone=moon\n"
    )
    assert table([]) == "no GpuPool\n"
    head, west, moon, _ = table([replace(WEST, waiting=3.0, in_flight=12.0), MOON]).splitlines()
    assert head.endswith("FREE     WAITING  IN FLIGHT")
    assert west.endswith("50.00 %  3        12")
    assert moon.split()[-2:] == [NOTHING, NOTHING]


def test_as_json_with_the_load_that_a_processor_knows(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    memory = MemoryApi(made("GpuPool", "west", {"architecture": "h100"}), made("GpuPool", "moon", {"product": ""}))
    monkeypatch.setattr(api, "connect", memory.connect)
    picks = [
        {"policy": policy, "version": "v", "gpu_pool": "west", "endpoint": f"h:{n}", "age": 0.1, "picks": 1.0}
        | {"waiting": waiting, "in_flight": 2.0}
        for policy in "pq"
        for n, waiting in enumerate((3.0, 4.0, None))
    ]
    with admin_port(recent=recent(), config={"free": {"west": 0.25}}, live={"endpoints": picks}) as (address, _):
        assert main(["pools", "--from", address, "--json"]) == 1
    moon, west = json.loads(capsys.readouterr().out)
    assert (west["name"], west["free"], west["problem"]) == ("west", 0.25, "")
    assert (west["waiting"], west["in_flight"], moon["waiting"], moon["in_flight"]) == (7.0, 6.0, None, None)
    assert "spec.product" not in moon["problem"]
    assert "is empty" in moon["problem"]
    memory.remove("GpuPool", "moon")
    assert main(["pools"]) == 0


def test_no_cluster(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "none"))
    assert main(["pools"]) != 0
    assert "set KUBECONFIG, or run as a pod with a ServiceAccount" in capsys.readouterr().err

    memory = MemoryApi()

    async def refused(*_: object) -> None:
        raise api.ApiFailure("403: no")

    monkeypatch.setattr(memory, "list", refused)
    monkeypatch.setattr(api, "connect", memory.connect)
    assert main(["pools"]) != 0
    assert "the API server can't be asked: 403: no" in capsys.readouterr().err

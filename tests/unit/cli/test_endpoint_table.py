"""`extproc stat --endpoints`: one row for each endpoint, however many processors tell of it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from rich.console import Console

from extproc.cli.endpoint_table import merge, table
from extproc.cli.main import main
from tests.unit.cli.stub_servers import admin_port


def row(endpoint: str, **more: Any) -> dict[str, Any]:
    names = {"policy": "p", "version": "v1", "gpu_pool": "none", "endpoint": endpoint}
    load = dict.fromkeys(("waiting", "running", "cache", "gpu", "age", "share"))
    return names | load | {"in_flight": 0.0, "picks": 0.0, "adapters": []} | more


A = row("10.0.0.1:8000", waiting=2.0, running=4.0, cache=0.25, age=0.12, in_flight=5.0, picks=30.0, adapters=["sql"])
B = row("10.0.0.2:8000", picks=10.0)
LOAD = ("WAITING", "RUNNING", "CACHE")


def test_what_replicas_sent_is_added_up_and_the_latest_load_counts() -> None:
    older = A | {"waiting": 9.0, "age": 0.5, "in_flight": 1.0, "picks": 10.0, "adapters": []}
    for replicas in ([[A, B], [older]], [[older], [B, A]]):
        first, second = merge(replicas)
        assert first == A | {"in_flight": 6.0, "picks": 40.0, "queued": 0.0, "share": 0.8}
        assert second == B | {"queued": 0.0, "share": 0.2}
    assert merge([[row("a:1")]])[0]["share"] is None


def printed(rows: list[dict[str, Any]], capsys: pytest.CaptureFixture[str]) -> list[list[str]]:
    Console(width=140, highlight=False).print(table(merge([rows])))
    head, _, *lines = capsys.readouterr().out.splitlines()
    return [line.split() for line in (head, *lines)]


def test_how_many_wait_is_told_once_where_somebody_does() -> None:
    first, second = ([one | {"queued": count} for one in (A, B, row("c:1", version="v2"))] for count in (3, 2))
    columns = {str(column.header): list(map(str, column.cells)) for column in table(merge([first, second])).columns}
    assert columns["QUEUED"] == ["5", "", "5"]
    assert "QUEUED" not in [column.header for column in table(merge([[A, B]])).columns]
    assert [each["queued"] for each in merge([first[:1], second[1:2]])] == [5, 5], "an endpoint that one does not know"


def test_the_table(capsys: pytest.CaptureFixture[str]) -> None:
    hostile = row("10.0.0.3:1", adapters=["\x1b[31m"])
    none = "\N{EN DASH}"
    assert printed([A, B, hostile], capsys) == [
        [
            "POLICY",
            "VERSION",
            "ENDPOINT",
            "WAITING",
            "RUNNING",
            "CACHE",
            "IN",
            "FLIGHT",
            "PICKS/MIN",
            "SHARE",
            "AGE",
            "ADAPTERS",
        ],
        ["p", "v1", "10.0.0.1:8000", "2", "4", "25.00", "%", "5", "30", "75.00", "%", "0.1", "s", "sql"],
        ["p", "v1", "10.0.0.2:8000", none, none, none, "0", "10", "25.00", "%", none, none],
        ["p", "v1", "10.0.0.3:1", *[none] * 3, "0", "0", "0.00", "%", none, "\N{REPLACEMENT CHARACTER}[31m"],
    ]
    assert printed([row("a:1", gpu_pool="west", version="none", gpu=0.5)], capsys) == [
        [
            "POLICY",
            "VERSION",
            "POOL",
            "ENDPOINT",
            "WAITING",
            "RUNNING",
            "CACHE",
            "GPU",
            "IN",
            "FLIGHT",
            "PICKS/MIN",
            "SHARE",
            "AGE",
        ],
        ["p", none, "west", "a:1", *[none] * 3, "50.00", "%", "0", "0", none, none],
    ]


def test_processors_are_asked(capsys: pytest.CaptureFixture[str]) -> None:
    with admin_port(live={"endpoints": [A]}) as (one, paths), admin_port(live={"endpoints": [A]}) as (two, _):
        assert main(["stat", "--endpoints", "--from", one, "--from", two, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["replicas"] == [one, two]
    assert [each["in_flight"] for each in found["rows"]] == [10.0]
    assert paths == ["/live?window=1"]
    with admin_port(live={"endpoints": []}) as (one, _), admin_port(live={}) as (old, _):
        assert main(["stat", "--endpoints", "--from", one, "--from", old]) == 0
    out, err = capsys.readouterr()
    assert out == "No policy picks endpoints (spec.picking).\n"
    assert err == f"extproc: {old} does not tell of endpoints as this command reads it\n"
    assert main(["stat", "--endpoints", "--from", old]) == 1

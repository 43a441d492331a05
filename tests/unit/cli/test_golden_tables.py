"""Golden metrics as rows, tables and JSON, from what an admin port answers."""

from __future__ import annotations

import json
import socket

import msgspec
import pytest
from rich.console import Console

from extproc.admin.replica_traffic import ReplicaTraffic, collect_report
from extproc.cli import golden_tables
from extproc.cli.golden_tables import by_caller, by_target, document, print_callers, print_targets, table
from extproc.cli.terminal_text import NOTHING
from extproc.errors import SetupError
from tests.unit.cli.stub_servers import CONFIG, admin_port, recent, row


def fleet(*rows: list[object]) -> ReplicaTraffic:
    with admin_port(recent=recent(*rows), config=CONFIG) as (address, _):
        return collect_report([address], 60)


def printed(rows: golden_tables.Rows, columns: tuple[str, ...]) -> list[list[str]]:
    console = Console(width=120, highlight=False)
    with console.capture() as captured:
        console.print(table(rows, columns))
    return [line.split() for line in captured.get().splitlines()]


def test_every_target_of_the_policy_has_a_row_and_mirrors_have_none() -> None:
    labels = [labels for labels, _ in by_target(fleet())]
    assert labels == [{"model": "llama", "version": "v1", "gpu_pool": "west"}]


def test_targets_add_up_their_callers_and_other_models_come_last() -> None:
    rows = by_target(
        fleet(
            row("ann", "other", "none", "none", 4),
            row("ann", "llama", "v1", "west", 8, failures=2),
            row("bob", "llama", "v1", "west", 2),
            row("bob", "zeta", "v9", "none"),
        )
    )
    assert [(labels["model"], metrics.rps, metrics.success) for labels, metrics in rows] == [
        ("llama", 1.0, 0.8),
        ("zeta", 0.1, 1.0),
        ("other", 0.4, 1.0),
    ]


def test_callers_beyond_the_first_are_one() -> None:
    found = by_caller(fleet(*(row(name, "llama", "v1", "west", n) for n, name in enumerate("abc", 1))), 1)
    assert [(labels["caller"], round(metrics.rps, 9)) for labels, metrics in found] == [("c", 0.3), ("other", 0.3)]
    assert list(found[0][0]) == ["caller", "model", "version", "gpu_pool"]


def test_callers_with_the_places_of_pools() -> None:
    pools = [{"name": "west", "cluster": "one", "locality": "us/a"}]
    found = fleet(row("ann", "llama", "v1", "west"), row("ann", "other", "none", "none"))
    placed = msgspec.structs.replace(found, config={**found.config, "pools": pools})
    assert [list(labels.values())[3:] for labels, _ in by_caller(placed, 5)] == [
        ["west", "one", "us/a"],
        ["none", "none", "none"],
    ]


def test_a_table_has_the_columns_asked_for_and_dashes_for_what_is_unknown() -> None:
    rows = by_target(fleet(row("ann", "llama", "none", "none", 10, failures=1)))
    head, _, first, second = printed(rows, ("RPS", "P95"))
    assert head == ["MODEL", "VERSION", "POOL", "SUCCESS", "RPS", "P95"]
    assert first[:6] == ["llama", NOTHING, NOTHING, "90.00", "%", "1.0"]
    assert second == ["llama", "v1", "west", NOTHING, NOTHING, NOTHING]


def test_what_was_refused_has_a_column_where_something_was() -> None:
    key, counts = row("ann", "llama", "v1", "west", 6)
    refusals = {"no_room": 1, "queue_full": 1}
    rows = by_target(fleet([key, [*counts, 6, refusals]], row("ann", "llama", "v2", "west")))
    head, _, first, second = printed(rows, ("REFUSED", "RPS"))
    assert head == ["MODEL", "VERSION", "POOL", "SUCCESS", "REFUSED", "RPS"]
    assert first[3:] == ["100", "%", "33.33", "%", "0.6"]
    assert second[3:] == ["100", "%", NOTHING, "0.1"]
    assert printed(rows[1:], ("REFUSED", "RPS"))[0] == ["MODEL", "VERSION", "POOL", "SUCCESS", "RPS"]
    (told, _) = document(fleet(), rows)["rows"]
    assert (told["refused"], told["refusals"]) == (pytest.approx(1 / 3), refusals)


def test_an_empty_table_has_a_heading() -> None:
    assert printed([], ("RPS",))[0] == ["MODEL", "SUCCESS", "RPS"]


def test_names_from_outside_are_made_harmless() -> None:
    rows = by_caller(fleet(row("\x1b[2Jann", "llama", "v1", "west")), 5)
    assert printed(rows, ("RPS",))[2][0] == "\N{REPLACEMENT CHARACTER}[2Jann"


def test_the_document_has_every_metric_and_who_answered() -> None:
    one = fleet(row("ann", "llama", "v1", "west", 10, failures=1))
    found = document(one, by_target(one))
    assert (found["seconds"], found["replicas"], found["problems"]) == (10.0, list(one.answered), [])
    (only,) = found["rows"]
    assert (only["model"], only["success"], only["rps"], only["ttft_p50_ms"]) == ("llama", 0.9, 1.0, None)
    assert 75 <= only["p50_ms"] <= 100


def test_a_table_for_people(capsys: pytest.CaptureFixture[str]) -> None:
    with admin_port(recent=recent(row("ann", "llama", "v1", "west")), config=CONFIG) as (address, _):
        assert print_targets([address], 60, as_json=False, watch=False) == 0
        assert print_callers([address], 60, 5, as_json=False, watch=False) == 0
    printed = capsys.readouterr()
    heads = [line.split() for line in printed.out.splitlines() if "MODEL" in line]
    assert heads[0] == ["MODEL", "VERSION", "POOL", "SUCCESS", "RPS", "P50", "P95", "P99", "TTFT", "p50/p95", "TOK/S"]
    assert heads[1] == ["CALLER", "MODEL", "VERSION", "POOL", "SUCCESS", "RPS", "P95"]
    assert "the last 10 s of 1 processor; times in ms" in printed.out
    assert printed.err == ""


@pytest.mark.parametrize(("observed", "end"), [(10, ""), (2, "; TTFT and tokens by 20.00 % of the answers"), (0, "")])
def test_it_says_how_much_was_read(observed: int, end: str, capsys: pytest.CaptureFixture[str]) -> None:
    key, counts = row("ann", "llama", "v1", "west", 10)
    with admin_port(recent=recent([key, [*counts, observed]]), config=CONFIG) as (address, _):
        print_targets([address], 60, as_json=False, watch=False)
        print_callers([address], 60, 5, as_json=False, watch=False)
    targets, callers = (line for line in capsys.readouterr().out.splitlines() if "times in ms" in line)
    assert targets.endswith(f"times in ms{end}")
    assert callers.endswith("times in ms")


def test_without_requests_a_table_of_callers_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    with admin_port(recent=recent(), config=CONFIG) as (address, _):
        print_callers([address], 60, 5, as_json=False, watch=False)
    assert capsys.readouterr().out == "No requests in the last 10 s of 1 processor.\n"


def test_watching_prints_a_line_each_time_and_a_problem_once(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    pauses: list[float] = []

    def pause(seconds: float) -> None:
        pauses.append(seconds)
        if len(pauses) == 3:
            raise KeyboardInterrupt

    monkeypatch.setattr("extproc.cli.looks.time.sleep", pause)
    with socket.create_server(("127.0.0.1", 0)) as free:
        gone = f"127.0.0.1:{free.getsockname()[1]}"
    with admin_port(recent=recent(), config=CONFIG) as (address, _), pytest.raises(KeyboardInterrupt):
        print_targets([address, gone], 60, as_json=True, watch=True)
    printed = capsys.readouterr()
    documents = [json.loads(line) for line in printed.out.splitlines()]
    assert [document["replicas"] for document in documents] == [[address]] * 3
    assert printed.err.count("does not answer") == 1
    assert pauses == [2.0] * 3


def test_nobody_there_is_an_error() -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        gone = f"127.0.0.1:{free.getsockname()[1]}"
    with pytest.raises(SetupError, match=gone):
        print_targets([gone], 60, as_json=False, watch=False)

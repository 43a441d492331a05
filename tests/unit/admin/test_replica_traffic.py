"""Several processors as one: what they remember is added up, and those that do not answer are named."""

from __future__ import annotations

import socket
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from typing import Any

import msgspec
import pytest

from extproc.admin.client import Replica
from extproc.admin.replica_traffic import collect_report, find_replicas
from extproc.admin.server import AdminContent, AdminServer
from extproc.errors import SetupError
from extproc.exchange.notes import Observed
from extproc.telemetry.golden_metrics import Counts
from extproc.telemetry.histogram import Histogram
from extproc.telemetry.metrics import Metrics
from extproc.telemetry.recent_traffic_by_caller import RecentTraffic, TimeSlice, TrafficReport
from extproc.telemetry.tap import OpenTaps

NOW = 1_000_000.0


class Processor:
    """The admin port of one."""

    def __init__(self, stack: ExitStack, generation: int) -> None:
        self.now = NOW
        self.recent = RecentTraffic(lambda: self.now)
        self.report: TrafficReport | None = None
        content = AdminContent(Metrics, str, lambda: {"generation": generation}, self._report, OpenTaps().open)
        server = AdminServer("127.0.0.1:0", content)
        server.start()
        stack.callback(server.stop)
        self.address = f"127.0.0.1:{server.port}"

    def _report(self) -> TrafficReport:
        return self.report or self.recent.report()

    def note(self, code: str, version: str = "v1") -> None:
        self.recent.note(Observed("llama", version, "none", "openai", code, 0.1, caller="ann"))


@pytest.fixture
def two() -> Iterator[list[Processor]]:
    with ExitStack() as stack:
        yield [Processor(stack, 1), Processor(stack, 2)]


@pytest.fixture
def dead() -> str:
    with socket.create_server(("127.0.0.1", 0)) as free:
        return f"127.0.0.1:{free.getsockname()[1]}"


def requests(rows: Mapping[Any, Counts]) -> dict[str, tuple[int, float]]:
    return {version: (counts.requests, counts.failures) for (_, _, version, _), counts in rows.items()}


def test_what_they_counted_is_added_up(two: list[Processor]) -> None:
    first, second = two
    first.note("200")
    first.note("500")
    second.note("200")
    second.note("404", "v2")
    found = collect_report([first.address, second.address], 60)
    assert requests(found.window.rows) == {"v1": (3, 1), "v2": (1, 0)}
    assert found.answered == (first.address, second.address)
    assert (found.problems, found.config) == ((), {"generation": 2})


def test_only_the_last_seconds_count_and_the_longest_time_is_told(two: list[Processor]) -> None:
    first, second = two
    first.note("200")
    first.now += 100
    first.note("200", "v2")
    second.now += 5
    found = collect_report([first.address, second.address], 30)
    assert requests(found.window.rows) == {"v2": (1, 0)}
    assert 20 < found.window.seconds <= 30


def test_one_that_does_not_answer_is_named_and_the_others_count(two: list[Processor], dead: str) -> None:
    two[0].note("200")
    found = collect_report([dead, two[0].address], 60)
    assert found.answered == (two[0].address,)
    assert found.problems == (f"{dead} does not answer: Connection refused",)
    assert requests(found.window.rows) == {"v1": (1, 0)}


def test_one_of_another_version_is_left_out_whole(two: list[Processor]) -> None:
    """Its buckets differ: nothing of it may be counted, also not what came before the difference was found."""
    first, second = two
    first.note("200")
    other = Counts(requests=7, duration=Histogram((1.0, 2.0)))
    rows = [(("ann", "llama", "v2", "none"), Counts(requests=9)), (("ann", "llama", "v1", "none"), other)]
    second.report = TrafficReport(NOW, NOW - 10, [TimeSlice(first.recent.report().slices[0].number, rows)])
    found = collect_report([first.address, second.address], 60)
    assert requests(found.window.rows) == {"v1": (1, 0)}
    (problem,) = found.problems
    assert problem.startswith(f"{second.address} is of another version than this command: ")


def test_what_is_no_processor_is_named(two: list[Processor], monkeypatch: pytest.MonkeyPatch) -> None:
    get = Replica.get
    address = two[0].address

    def broken(replica: Replica, path: str) -> bytes:
        return b"[]" if replica.name == address else get(replica, path)

    monkeypatch.setattr(Replica, "get", broken)
    found = collect_report([replica.address for replica in two], 60)
    assert found.problems == (f"{address} does not answer as a processor does",)


def test_without_any_answer_it_is_an_error(dead: str) -> None:
    with pytest.raises(SetupError, match=f"{dead} does not answer: Connection refused\ngive the admin port"):
        collect_report([dead], 60)


def test_a_processor_that_is_named_twice_counts_once(two: list[Processor], monkeypatch: pytest.MonkeyPatch) -> None:
    two[0].note("200")
    found = collect_report([two[0].address, f"http://{two[0].address}/"], 60)
    assert requests(found.window.rows) == {"v1": (1, 0)}

    def resolve(host: str, *_: Any, **__: Any) -> list[Any]:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    known, problems = find_replicas(["nowhere", "unix:///a.sock", "unix:///a.sock"])
    assert [replica.host for replica in known] == ["/a.sock"]
    assert problems == ["nowhere:9090 is not known: Name or service not known"]


def test_an_address_that_is_none_is_an_error() -> None:
    with pytest.raises(SetupError, match="is no admin port"):
        find_replicas(["unix:///a.sock", "ftp://host"])


def test_the_report_is_read_as_it_is_written(two: list[Processor]) -> None:
    two[0].note("200")
    body = Replica("it", "127.0.0.1", int(two[0].address.rpartition(":")[2])).get("/recent")
    assert msgspec.json.decode(body, type=TrafficReport) == two[0].recent.report()

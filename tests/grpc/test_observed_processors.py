"""Running processors looked at while they work: stat, tap, edges and what the admin port shows to browsers."""

from __future__ import annotations

import http.client
import json
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from extproc.admin import page
from extproc.admin.server import AdminContent, AdminServer
from extproc.cli.main import main
from extproc.exchange.notes import Observed
from extproc.telemetry.metrics import Metrics
from extproc.telemetry.recent_traffic_by_caller import RecentTraffic
from extproc.telemetry.tap import MAX_QUEUED, OpenTaps
from tests.grpc.exchanges import exchange, tell
from tests.grpc.served import Served, ServedWorkers, write
from tests.waiting import until

SEARCH, CHAT = "spiffe://cluster.local/ns/shop/sa/search", "spiffe://cluster.local/ns/shop/sa/chat"
HOSTILE = '<img src=x onerror="alert(1)">\x1b[2J'


@pytest.fixture
def policy(tmp_path: Path) -> Path:
    path = tmp_path / "policy.yaml"
    write(path, "90")
    return path


@pytest.fixture
def served(policy: Path) -> Iterator[Served]:
    with Served(policy, "--drain", "0") as server:
        yield server.ready()


@pytest.fixture(scope="module")
def standing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """One for tests that change nothing."""
    path = tmp_path_factory.mktemp("standing") / "policy.yaml"
    write(path, "90")
    with Served(path, "--drain", "0") as server:
        yield server.ready()


@pytest.fixture
def team(policy: Path, tmp_path: Path) -> Iterator[ServedWorkers]:
    with ServedWorkers(policy, 2, "--drain", "0", listen=f"unix://{tmp_path}/p.sock") as team:
        yield team.ready()


def workers(team: ServedWorkers) -> list[str]:
    return [worker["listen"][0] for worker in team.workers()]


def run(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, Any, str]:
    """Exit status, what is on stdout as JSON, and stderr."""
    capsys.readouterr()
    status = main([*words, "--json"])
    out, err = capsys.readouterr()
    return status, json.loads(out) if out else None, err


class Tapper:
    """A running ``extproc tap``."""

    def __init__(self, *words: str) -> None:
        command = [sys.executable, "-m", "extproc", "tap", *words]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self.lines: list[str] = []
        self._reader = Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        self.lines.extend(self.process.stdout)

    def __enter__(self) -> Tapper:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self._reader.join(5)
        self.process.communicate()

    def about(self, *words: str) -> list[str]:
        """Its lines with one of these words."""
        return [line.rstrip() for line in self.lines if any(word in line for word in words)]


@contextmanager
def tapping(admin: str, query: str = "") -> Iterator[http.client.HTTPResponse]:
    """An open tap that has begun."""
    connection = http.client.HTTPConnection(admin, timeout=10)
    with closing(connection):
        connection.request("GET", f"/tap{query}")
        with connection.getresponse() as response:
            assert response.status == 200
            assert response.readline() == b"\n"
            yield response


def test_several_replicas_are_one_and_a_dead_one_is_told(
    served: Served, team: ServedWorkers, capsys: pytest.CaptureFixture[str]
) -> None:
    tell(served.address, exchange(), exchange("503"))
    first, second = workers(team)
    tell(first, exchange(), exchange(version="v2"))
    tell(second, *[exchange() for _ in range(6)], exchange("404", model="mistral"))
    with socket.create_server(("127.0.0.1", 0)) as free:
        dead = f"127.0.0.1:{free.getsockname()[1]}"
    status, found, said = run(capsys, "stat", "--from", served.admin, "--from", f"http://{team.admin}", "--from", dead)
    assert status == 0
    rows = {(row["model"], row["version"]): row for row in found["rows"]}
    assert {key: row["requests"] for key, row in rows.items()} == {
        ("llama", "v1"): 9,
        ("llama", "v2"): 1,
        ("other", "v1"): 1,
    }
    assert rows["llama", "v1"]["success"] == pytest.approx(8 / 9)
    assert rows["other", "v1"]["success"] == 1.0, "what a client asks wrongly is not our failure"
    assert rows["llama", "v1"]["rps"] == pytest.approx(9 / found["seconds"])
    assert found["replicas"] == [served.admin, team.admin]
    assert said == f"extproc: {dead} does not answer: Connection refused\n"


def test_no_traffic_is_a_dash(standing: Served, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["stat", "--from", standing.admin]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split() for line in lines[2:4]] == [
        ["llama", "v1", *"–" * 8],  # noqa: RUF001
        ["llama", "v2", *"–" * 8],  # noqa: RUF001
    ]
    assert "100" not in lines[2]


@pytest.mark.parametrize("source", ["ftp://host", "http://host/path", "host:port", "unix:relative", ""])
def test_an_address_that_can_not_be_understood(source: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["stat", "--from", source]) == 1
    assert "write http://host:port, host:port or unix:///path" in capsys.readouterr().err


def test_nobody_there(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        dead = f"127.0.0.1:{free.getsockname()[1]}"
    assert main(["edges", "--from", dead]) == 1
    first, remedy = capsys.readouterr().err.splitlines()
    assert first == f"extproc: {dead} does not answer: Connection refused"
    assert remedy.startswith("extproc: give the admin port of a running processor: --admin of `extproc serve`")


def test_edges_name_callers(served: Served, capsys: pytest.CaptureFixture[str]) -> None:
    tell(served.address, exchange(caller=SEARCH), exchange(caller=SEARCH), exchange("500", caller=CHAT), exchange())
    _, found, _ = run(capsys, "edges", "--from", served.admin)
    assert {row["caller"]: (row["requests"], row["success"]) for row in found["rows"]} == {
        SEARCH: (2, 1.0),
        CHAT: (1, 0.0),
        "unknown": (1, 1.0),
    }
    _, found, _ = run(capsys, "edges", "--from", served.admin, "--callers", "1")
    assert [(row["caller"], row["requests"]) for row in found["rows"]] == [(SEARCH, 2), ("other", 2)]
    tell(served.address, exchange(caller=HOSTILE))
    assert main(["edges", "--from", served.admin]) == 0
    assert "\x1b" not in capsys.readouterr().out


def test_tap_tells_what_it_was_asked_for(served: Served) -> None:
    with (
        Tapper("--from", served.admin) as every,
        Tapper("--from", served.admin, "--json", "--code", "5xx", "--model", "ll*") as failed,
    ):
        until(lambda: tell(served.address, exchange("599")) and (every.lines and failed.lines))
        tell(served.address, exchange("201"), exchange("503", caller=SEARCH), exchange("202", model=HOSTILE))
        until(lambda: len(every.about("  201  ", "  503  ", "  202  ")) == 3)
        until(lambda: failed.about('"503"'))
    good, bad, hostile = every.about("  201  ", "  503  ", "  202  ")
    assert "  llama v1  openai" in good
    assert bad.endswith(f"llama v1  openai  from {SEARCH}")
    assert "<img" in hostile
    assert "\x1b" not in hostile
    assert json.loads(failed.about('"503"')[0])["caller"] == SEARCH
    assert failed.about('"201"', '"202"') == []


def test_tap_finds_a_processor_that_comes_back(served: Served, policy: Path) -> None:
    with Tapper("--from", served.admin, "--json") as tap:
        until(lambda: tell(served.address, exchange("599")) and tap.lines)
        served.process.kill()
        served.process.wait()
        with Served(policy, "--drain", "0", admin=served.admin) as again:
            again.ready()
            until(lambda: tell(again.address, exchange("598")) and tap.about('"598"'))
        tap.process.terminate()
        assert tap.process.stderr is not None
        assert f"{served.admin} has " in tap.process.stderr.read()


def test_tap_of_several_workers(team: ServedWorkers) -> None:
    """The supervisor taps its workers in its own time: they are told of exchanges until both have been heard."""
    addresses = workers(team)
    heard: set[str] = set()

    def tell_and_hear(tap: http.client.HTTPResponse) -> bool:
        for address in addresses:
            tell(address, exchange(version="v2"), exchange(caller=address))
        if line := tap.readline().strip():
            said = json.loads(line)
            assert said["version"] == "v1"
            heard.add(said["caller"])
        return heard == set(addresses)

    with tapping(team.admin, "?version=v1") as tap:
        until(lambda: tell_and_hear(tap))


def test_a_slow_tapper_costs_nobody_time() -> None:
    """It reads nothing while far more comes than all buffers hold; then it learns how many it missed."""
    taps, recent = OpenTaps(), RecentTraffic()
    admin = AdminServer("127.0.0.1:0", AdminContent(Metrics, lambda: "", dict, recent.report, taps.open))
    admin.start()
    observed = Observed("llama", "v1", "none", "openai", "200", 0.1, caller="x" * 256)
    count, before = MAX_QUEUED * 20, time.perf_counter()
    with tapping(f"127.0.0.1:{admin.port}") as tap:
        for _ in range(count):
            taps.note(observed)
        each = (time.perf_counter() - before) / count
        got = lost = 0
        while got + lost < count:
            if line := tap.readline().strip():
                said = json.loads(line)
                lost += said.get("lost", 0)
                got += "code" in said
    admin.stop()
    assert (got + lost, lost > count // 2) == (count, True)
    assert each < 0.001, "it waits for nobody"


def test_enough_is_enough(served: Served) -> None:
    with ExitStack() as stack:
        for _ in range(16):
            stack.enter_context(tapping(served.admin))
        assert served.get("/tap") == (503, "16 tap this processor already\n")
    until(lambda: tell(served.address, exchange()) and head(served.admin, "/tap")[0] == 200)


def head(admin: str, path: str, **headers: str) -> tuple[int, dict[str, str]]:
    connection = http.client.HTTPConnection(admin, timeout=10)
    try:
        connection.request("HEAD", path, headers=headers)
        response = connection.getresponse()
        return response.status, {name.lower(): value for name, value in response.getheaders()}
    finally:
        connection.close()


def test_what_a_browser_gets_and_what_others_get(standing: Served) -> None:
    status, headers = head(standing.admin, "/", accept="text/html,*/*;q=0.8")
    assert (status, headers["content-type"]) == (200, "text/html; charset=utf-8")
    assert headers["content-security-policy"] == page.POLICY
    assert headers["x-content-type-options"] == "nosniff"
    status, text = standing.get("/")
    assert (status, text.splitlines()[0]) == (200, "/metrics")
    assert "/tap" in text.splitlines()


@pytest.mark.parametrize("path", sorted(page._FILES))
def test_what_the_page_is_made_of(path: str, standing: Served) -> None:
    status, headers = head(standing.admin, path, accept="text/html")
    assert status == 200
    assert int(headers["content-length"]) > 100
    assert head(standing.admin, f"/page/..{path}", accept="text/html")[0] == 404


@pytest.mark.parametrize("path", ["/live?window=0", "/live?window=x", "/live?what=1", "/tap?code=5xx&min_ms=slow"])
def test_parameters_that_make_no_sense(path: str, standing: Served) -> None:
    status, text = standing.get(path)
    assert status == 400
    assert "; there are: " in text


@pytest.mark.parametrize(
    ("host", "status"),
    [("localhost:9", 200), ("127.0.0.1", 200), ("[::1]:80", 200), ("10.1.2.3", 200), ("evil.example", 421), ("", 421)],
)
def test_a_web_site_can_not_pretend_to_be_this_machine(host: str, status: int, standing: Served) -> None:
    assert head(standing.admin, "/live", host=host)[0] == status

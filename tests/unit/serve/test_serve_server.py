"""One processor in this process: what it serves on the admin port, how it reloads, and how signals end it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import msgspec
import pytest

from extproc.admin.client import Replica, Unreachable
from extproc.errors import PolicyProblems, Problem, SetupError
from extproc.exchange.notes import Observed, RequestAccount
from extproc.grpc_server import Abort, StatusCode
from extproc.policy.snapshot import Snapshot
from extproc.policyfile.watcher import PolicyWatcher
from extproc.serve import server as module
from extproc.serve.options import ServeOptions
from extproc.serve.server import Server
from extproc.telemetry.cluster_gauges import ClusterGauges
from extproc.telemetry.tap import TapFilter
from tests.grpc.echo import PlainSender
from tests.grpc.served import write

OBSERVED = Observed("llama", "v1", "none", "openai", "200", 0.1)


class Engine:
    """Stands for the gRPC server: serves until it is stopped; a test acts while it runs."""

    ports = (50051, 0)

    def __init__(self) -> None:
        self.stopped: list[float] = []
        self.while_running: list[object] = []

    def run(self, started: object) -> None:
        assert callable(started)
        started()
        for action in self.while_running:
            assert callable(action)
            action()

    def stop(self, grace: float) -> None:
        self.stopped.append(grace)


class Collector:
    """Stands for Python's garbage collector, which is of the whole process."""

    def __init__(self) -> None:
        self.told: list[object] = []

    def freeze(self) -> None:
        self.told.append("freeze")

    def enable(self) -> None:
        self.told.append("enable")

    def get_threshold(self) -> tuple[int, int, int]:
        return 700, 10, 10

    def set_threshold(self, *thresholds: int) -> None:
        self.told.append(thresholds)


class Timer:
    """A timer that a test lets run out."""

    made: ClassVar[list[Timer]] = []
    daemon = False

    def __init__(self, seconds: float, function: Callable[..., None], arguments: Sequence[object] = ()) -> None:
        self.seconds, self.function, self.arguments = seconds, function, arguments
        self.state = "new"
        self.made.append(self)

    def start(self) -> None:
        self.state = "started"

    def cancel(self) -> None:
        self.state = "cancelled"


@pytest.fixture
def policy(tmp_path: Path) -> Path:
    path = tmp_path / "policy.yaml"
    write(path, "90")
    return path


@pytest.fixture
def options(policy: Path) -> ServeOptions:
    listen = ("127.0.0.1:0", "unix:///p.sock")
    return ServeOptions(policies=(policy,), listen=listen, admin="127.0.0.1:0", drain=4.0, grace=7.0)


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch) -> Iterator[Engine]:
    engine = Engine()
    monkeypatch.setattr(Timer, "made", [])
    monkeypatch.setattr(module, "Timer", Timer)
    monkeypatch.setattr(module, "gc", Collector())
    monkeypatch.setattr(module, "create", lambda *_: engine)
    before = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)]
    yield engine
    assert [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)] == before


def get(server: Server, path: str) -> str:
    return Replica("it", "127.0.0.1", server._admin.port).get(path).decode()


def test_it_is_ready_while_it_serves_and_stops_everything_at_the_end(
    options: ServeOptions, engine: Engine, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    server = Server(options)
    assert server._unready() == "starting"
    seen: list[object] = []
    engine.while_running = [lambda: seen.extend((get(server, "/readyz"), server._health.serving))]
    assert server.run() == 0
    assert seen == ["ready\n", True]
    serving, bye = caplog.messages[0], caplog.messages[-1]
    assert serving == f"serving ext_proc on 127.0.0.1:50051, unix:///p.sock, admin on port {server._admin.port}"
    assert bye == "drained, bye"
    with pytest.raises(Unreachable):
        get(server, "/healthz")
    assert not server._feeds[0]._thread.is_alive()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_fails_health_at_once_and_stops_streams_after_the_drain(
    number: signal.Signals, options: ServeOptions, engine: Engine
) -> None:
    server = Server(options)
    seen: list[object] = []
    engine.while_running = [
        lambda: signal.raise_signal(number),
        lambda: seen.extend((server._unready(), server._health.serving, engine.stopped.copy())),
    ]
    assert server.run() == 0
    assert seen == ["draining", False, []]
    (timer,) = Timer.made
    assert (timer.seconds, timer.daemon, timer.state) == (4.0, True, "cancelled")
    ended: list[Abort] = []
    server._access_log.open(PlainSender(ended.append))
    timer.function()
    assert (engine.stopped, ended) == ([7.0], [])
    for streams in (1, 0, 1):  # streams that are open still, or again, hold the access logs back
        server._metrics.streams = streams
        timer = Timer.made[-1]
        assert (timer.seconds, timer.daemon, timer.state) == (0.25, True, "started")
        timer.function(*timer.arguments)
        assert not ended
    server._metrics.streams = 0
    for _ in range(2):
        timer = Timer.made[-1]
        timer.function(*timer.arguments)
    assert [abort.code for abort in ended] == [StatusCode.UNAVAILABLE]


def test_what_lives_on_is_collected_no_more_and_the_rest_as_a_whole_seldom(
    options: ServeOptions, engine: Engine
) -> None:
    Server(options).run()
    assert module.gc.told == ["freeze", "enable", (700, 10, 100)]  # type: ignore[attr-defined]


def test_a_second_signal_leaves_at_once(
    options: ServeOptions, engine: Engine, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    left: list[int] = []
    monkeypatch.setattr(os, "_exit", left.append)
    engine.while_running = [lambda: signal.raise_signal(signal.SIGTERM), lambda: signal.raise_signal(signal.SIGINT)]
    Server(options).run()
    assert left == [128 + signal.SIGINT]
    assert "second SIGINT: leaving at once" in caplog.messages


def test_a_reload_is_counted_and_shown(
    options: ServeOptions, policy: Path, engine: Engine, caplog: pytest.LogCaptureFixture
) -> None:
    server = Server(options)
    write(policy, "50")
    assert isinstance(server._policy_watcher, PolicyWatcher)
    assert server._policy_watcher.reload()
    assert server._config()["generation"] == 2
    assert server._config()["problems"] == []
    write(policy, "-3")
    assert not server._policy_watcher.reload()
    (problem,) = server._config()["problems"]
    assert problem["path"] == "spec.versions[0].weight"
    assert server._config()["generation"] == 2
    assert server._metrics._counters["extproc_errors"] == {("policy_reload",): 1}
    assert server._metrics._counters["extproc_policy_reloads"] == {("success",): 1, ("failure",): 1}
    assert f"{policy}:8" in caplog.text
    assert [record.levelname for record in caplog.records if ": error:" in record.message] == ["ERROR"]
    server._admin._server.server_close()


def test_a_finished_exchange_is_remembered_tapped_and_exported(options: ServeOptions, engine: Engine) -> None:
    server = Server(options)
    exported: list[object] = []
    sender: Any = SimpleNamespace(metadata=[("traceparent", "x")])
    server._on_observed(sender, OBSERVED)
    server._otlp = SimpleNamespace(note=lambda *noted: exported.append(noted))  # type: ignore[assignment]
    server._on_observed(sender, OBSERVED)
    (one,) = server._recent.report().slices
    assert sum(counts.requests for _, counts in one.rows) == 2
    assert exported == [(sender.metadata, OBSERVED)]
    server._admin._server.server_close()


def test_an_account_is_counted_tapped_and_exported(options: ServeOptions, engine: Engine) -> None:
    server = Server(options)
    exported: list[RequestAccount] = []
    server._otlp = SimpleNamespace(account=exported.append)  # type: ignore[assignment]
    account = RequestAccount("llama", "v1", "none", "openai", "200", 0.1, observed=False)
    with server._taps.open(TapFilter()) as lines:
        server._on_account(account)
        assert msgspec.json.decode(next(lines))["observed"] is False
    assert exported == [account]
    (one,) = server._recent.report().slices
    assert [counts.requests for _, counts in one.rows] == [1]
    server._admin._server.server_close()


def test_mistakes_of_the_policy_and_taken_ports_start_nothing(options: ServeOptions, policy: Path) -> None:
    server = Server(options)
    taken = f"127.0.0.1:{server._admin.port}"
    with pytest.raises(SetupError, match=rf"cannot listen on {taken} \(--admin\)"):
        Server(msgspec.structs.replace(options, admin=taken))
    server._admin._server.server_close()
    write(policy, "-3")
    with pytest.raises(PolicyProblems):
        Server(options)


def test_a_collector_without_the_extra_is_an_error_that_says_what_to_do(
    options: ServeOptions, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "opentelemetry", None)
    for name in [name for name in sys.modules if name.startswith(("opentelemetry.", "extproc.telemetry.otlp"))]:
        monkeypatch.delitem(sys.modules, name)
    with pytest.raises(SetupError, match=r"pip install 'opentelemetry-sdk.*, or turn it off with --otlp ''"):
        Server(msgspec.structs.replace(options, otlp="http://127.0.0.1:1"))


class Cluster:
    """Stands for policies that are watched in a cluster: a test tells when there are any."""

    loaded_at, warnings, problems = 0.0, (), ()

    def __init__(self, on_reload: Callable[[bool, Sequence[Problem]], None]) -> None:
        self.snapshot, self.unready = Snapshot(generation=0), "no policies yet"
        self._on_reload = on_reload

    def load(self) -> None:
        self.snapshot, self.unready = Snapshot(), ""
        self._on_reload(True, ())

    def start(self) -> None:
        pass

    stop = start

    def describe(self) -> dict[str, Any]:
        return {"in_step": True}

    def gauges(self) -> ClusterGauges:
        return ClusterGauges(True, {"held": 1})


@pytest.fixture
def cluster(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> tuple[Server, Cluster]:
    monkeypatch.setattr(module, "_cluster_policies", lambda _, on_reload, __: Cluster(on_reload))
    listen = ("127.0.0.1:0", "unix:///p.sock")
    server = Server(ServeOptions(kubernetes=True, listen=listen, admin="127.0.0.1:0"))
    policies: Any = server._cluster
    return server, policies


def test_with_a_cluster_it_is_ready_when_the_first_policies_have_come(
    cluster: tuple[Server, Cluster], engine: Engine
) -> None:
    server, policies = cluster
    seen: list[object] = []

    def look() -> None:
        seen.append((server._unready(), server._health.serving))

    engine.while_running = [look, policies.load, look, lambda: signal.raise_signal(signal.SIGTERM), look]
    engine.while_running += [policies.load, look]
    server.run()
    assert seen == [("no policies yet", False), ("", True), ("draining", False), ("draining", False)]
    assert server._config()["kubernetes"] == {"in_step": True}
    assert server._metrics.cluster() == ClusterGauges(True, {"held": 1})


def test_a_stop_while_the_first_policies_come_is_not_undone(
    cluster: tuple[Server, Cluster], engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    server, policies = cluster
    asked: list[str] = []

    def unready() -> str:
        asked.append("")
        return "" if len(asked) == 1 else "draining"

    monkeypatch.setattr(server, "_unready", unready)
    policies.load()
    assert not server._health.serving
    server._admin._server.server_close()


def test_a_cluster_needs_a_library(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.startswith(("extproc.kubernetes", "lightkube"))]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "lightkube", None)
    with pytest.raises(SetupError, match=r"pip install 'lightkube"):
        Server(ServeOptions(kubernetes=True))


def test_without_a_cluster_nothing_of_it_is_imported(options: ServeOptions) -> None:
    code = f"""
import sys
from pathlib import Path
from extproc.serve.options import ServeOptions
from extproc.serve.server import Server
Server(ServeOptions(policies=(Path({str(options.policies[0])!r}),), admin="127.0.0.1:0"))
print([name for name in sys.modules if name.startswith(("extproc.kubernetes", "lightkube", "httpx2", "asyncio"))])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"

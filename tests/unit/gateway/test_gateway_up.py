"""``extproc up`` without an Envoy: ports that are taken, a processor that dies, signals, and what it greets with."""

from __future__ import annotations

import signal
import socket
from pathlib import Path
from queue import SimpleQueue
from types import SimpleNamespace
from typing import Any, ClassVar

import pytest

from extproc.errors import SetupError
from extproc.gateway import up as module
from extproc.gateway.up import _follow, _print_greeting, _Processor, _supervise, _with_free_port, require_free_port
from extproc.policy.snapshot import Policy, Snapshot, Version
from extproc.serve.options import ServeOptions

SNAPSHOT = Snapshot((Policy("chat", models=("llama", "qwen-*"), versions=(Version("v1"),)),))


def test_a_taken_port_is_named_before_anything_starts() -> None:
    with socket.create_server(("127.0.0.1", 0), reuse_port=True) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(SetupError, match=rf"127.0.0.1:{port} \(--listen\): Address already in use \(errno 98\)"):
            require_free_port("--listen", f"127.0.0.1:{port}")
    require_free_port("--listen", f"127.0.0.1:{port}")


def test_an_address_that_is_not_ours_is_named() -> None:
    with pytest.raises(SetupError, match=r"cannot listen on 192\.0\.2\.1:80 \(--admin\)"):
        require_free_port("--admin", "192.0.2.1:80")


def test_port_0_becomes_one_that_is_free() -> None:
    assert _with_free_port("127.0.0.1:9090") == "127.0.0.1:9090"
    address = _with_free_port("127.0.0.1:0")
    require_free_port("--admin", address)
    assert not address.endswith(":0")


class Child:
    """Stands for a ChildProcess."""

    started: ClassVar[list[Child]] = []
    refused = ""

    def __init__(self, name: str, command: list[str], *, echo: bool) -> None:
        if self.refused:
            raise SetupError(self.refused)
        self.name, self.command, self.echo = name, command, echo
        self.process = SimpleNamespace(returncode=None)
        self.signals: list[int] = []
        self.started.append(self)

    @property
    def alive(self) -> bool:
        return self.process.returncode is None

    def send_signal(self, number: int) -> None:
        self.signals.append(number)

    def exit_report(self) -> str:
        return "Envoy ended with signal SIGKILL"


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    monkeypatch.setattr(Child, "started", [])
    monkeypatch.setattr(module, "ChildProcess", Child)
    monkeypatch.setattr(module, "_POLL_INTERVAL", 0.001)
    time = SimpleNamespace(now=0.0)
    time.monotonic = lambda: time.now
    monkeypatch.setattr(module, "time", time)
    return time


@pytest.fixture
def processor(clock: SimpleNamespace) -> _Processor:
    return _Processor(ServeOptions(policies=(Path("p.yaml"),)))


def test_a_processor_that_ends_is_started_again_after_a_while(
    processor: _Processor, clock: SimpleNamespace, capsys: pytest.CaptureFixture[str]
) -> None:
    processor.poll()
    (first,) = Child.started
    assert first.command[1:6] == ["-m", "extproc", "serve", "-f", "p.yaml"]
    first.process.returncode = -signal.SIGKILL
    processor.poll()
    processor.poll()
    assert len(Child.started) == 1
    clock.now += 0.5
    processor.poll()
    assert len(Child.started) == 2
    assert processor.child is not first  # type: ignore[comparison-overlap]
    processor.poll()
    assert len(Child.started) == 2
    said = "extproc: the processor ended with signal SIGKILL; starting it again in 0.5 s\n"
    assert capsys.readouterr().err == said


def test_where_it_can_not_be_started_it_is_tried_again(
    processor: _Processor,
    clock: SimpleNamespace,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    Child.started[0].process.returncode = 0
    processor.poll()
    monkeypatch.setattr(Child, "refused", "no memory")
    processor.poll()
    assert capsys.readouterr().err.endswith("extproc: no memory; starting it again in 0.5 s\n")
    monkeypatch.setattr(Child, "refused", "")
    clock.now += 0.5
    processor.poll()
    assert len(Child.started) == 2


class Feed:
    """A policy that a test changes."""

    def __init__(self) -> None:
        self.snapshot = SNAPSHOT
        self.poked = 0

    def request_reload(self) -> None:
        self.poked += 1


class Files:
    """Notes which snapshots Envoy was to follow."""

    def __init__(self, error: Exception | None = None) -> None:
        self.followed: list[Snapshot] = []
        self.error = error

    def follow(self, _: object, snapshot: Snapshot) -> None:
        self.followed.append(snapshot)
        if self.error:
            raise self.error


def supervise(processor: _Processor, envoy: Any, feed: Feed, files: Files, *signals: int) -> None:
    queue: SimpleQueue[int] = SimpleQueue()
    for number in signals:
        queue.put(number)
    _supervise(processor, envoy, files, feed, queue)  # type: ignore[arg-type]


def running_envoy() -> Any:
    return SimpleNamespace(child=Child("Envoy", [], echo=False))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_runs_until_a_signal_to_stop(number: int, processor: _Processor) -> None:
    feed, files = Feed(), Files()
    supervise(processor, running_envoy(), feed, files, signal.SIGHUP, signal.SIGHUP, number)
    assert (feed.poked, files.followed) == (2, [])
    assert Child.started[0].signals == [signal.SIGHUP] * 2


def test_a_changed_policy_is_followed_once(processor: _Processor) -> None:
    feed, files, fresh = Feed(), Files(), Snapshot()
    feed.request_reload = lambda: setattr(feed, "snapshot", fresh)  # type: ignore[method-assign]
    supervise(processor, running_envoy(), feed, files, signal.SIGHUP, signal.SIGHUP, signal.SIGTERM)
    assert files.followed == [fresh]


def test_an_envoy_that_ends_is_an_error(processor: _Processor) -> None:
    envoy = running_envoy()
    envoy.child.process.returncode = -9
    with pytest.raises(SetupError, match="Envoy ended with signal SIGKILL"):
        supervise(processor, envoy, Feed(), Files())


@pytest.mark.parametrize("error", [SetupError("refused"), OSError("refused")])
def test_where_envoy_refuses_the_routes_stay(error: Exception, capsys: pytest.CaptureFixture[str]) -> None:
    _follow(running_envoy(), Files(error), SNAPSHOT)  # type: ignore[arg-type]
    assert capsys.readouterr().err == "extproc: the routes stay as they were: refused\n"


def test_the_greeting_has_a_request_that_can_be_pasted(capsys: pytest.CaptureFixture[str]) -> None:
    _print_greeting(SNAPSHOT, [Path("p.yaml")], "127.0.0.1:8080", "127.0.0.1:9090")
    said = capsys.readouterr().err
    assert "an AI gateway on http://127.0.0.1:8080" in said
    assert "policy   p.yaml (watched)" in said
    assert "models   llama, qwen-*" in said
    assert """-d '{"model": "llama", "messages": """ in said

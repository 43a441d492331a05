"""``extproc up`` without an Envoy: signals, a policy that changes, and what it greets with."""

from __future__ import annotations

import signal
from pathlib import Path
from queue import SimpleQueue
from types import SimpleNamespace
from typing import Any

import pytest

from extproc.errors import SetupError
from extproc.gateway import up as module
from extproc.gateway.up import _follow, _print_greeting, _require_folder, _supervise
from extproc.policy.snapshot import Policy, Snapshot, Version
from extproc.render.envoy.envoy_options import DownstreamTls

SNAPSHOT = Snapshot((Policy("chat", models=("llama", "qwen-*"), versions=(Version("v1"),)),))


class Child:
    """Stands for a ChildProcess."""

    def __init__(self) -> None:
        self.alive = True
        self.signals: list[int] = []

    def send_signal(self, number: int) -> None:
        self.signals.append(number)

    def exit_report(self) -> str:
        return "Envoy ended with signal SIGKILL"


class Processor:
    """Stands for the processor's process."""

    def __init__(self) -> None:
        self.child = Child()

    def poll(self) -> None:
        """It runs."""


@pytest.fixture
def processor(monkeypatch: pytest.MonkeyPatch) -> Processor:
    monkeypatch.setattr(module, "_POLL_INTERVAL", 0.001)
    return Processor()


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
        self.refreshed = 0
        self.error = error

    def follow(self, _: object, snapshot: Snapshot) -> None:
        self.followed.append(snapshot)
        if self.error:
            raise self.error

    def refresh_secrets(self) -> None:
        self.refreshed += 1


def supervise(processor: Processor, envoy: Any, feed: Feed, files: Files, *signals: int) -> None:
    queue: SimpleQueue[int] = SimpleQueue()
    for number in signals:
        queue.put(number)
    _supervise(processor, envoy, files, feed, queue)  # type: ignore[arg-type]


def running_envoy() -> Any:
    return SimpleNamespace(child=Child())


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_runs_until_a_signal_to_stop(number: int, processor: Processor) -> None:
    feed, files = Feed(), Files()
    supervise(processor, running_envoy(), feed, files, signal.SIGHUP, signal.SIGHUP, number)
    assert (feed.poked, files.followed) == (2, [])
    assert processor.child.signals == [signal.SIGHUP] * 2


def test_a_changed_policy_is_followed_once(processor: Processor) -> None:
    feed, files, fresh = Feed(), Files(), Snapshot()
    feed.request_reload = lambda: setattr(feed, "snapshot", fresh)  # type: ignore[method-assign]
    supervise(processor, running_envoy(), feed, files, signal.SIGHUP, signal.SIGHUP, signal.SIGTERM)
    assert files.followed == [fresh]


def test_an_envoy_that_ends_is_an_error(processor: Processor) -> None:
    envoy = running_envoy()
    envoy.child.alive = False
    with pytest.raises(SetupError, match="Envoy ended with signal SIGKILL"):
        supervise(processor, envoy, Feed(), Files())


@pytest.mark.parametrize("error", [SetupError("refused"), OSError("refused")])
def test_where_envoy_refuses_the_routes_stay(error: Exception, capsys: pytest.CaptureFixture[str]) -> None:
    _follow(running_envoy(), Files(error), SNAPSHOT)  # type: ignore[arg-type]
    assert capsys.readouterr().err == "extproc: the routes stay as they were: refused\n"


@pytest.mark.parametrize("name", ["", "access.json", "/dev/stdout"])
def test_an_access_log_in_a_folder_that_is_there(name: str) -> None:
    _require_folder(name)


def test_an_access_log_in_no_folder(tmp_path: Path) -> None:
    with pytest.raises(SetupError, match=f"there is no folder {tmp_path}/logs; make it"):
        _require_folder(f"{tmp_path}/logs/access.json")


def greeting(capsys: pytest.CaptureFixture[str], tls: DownstreamTls | None = None) -> str:
    envoy: Any = SimpleNamespace(listen_address="127.0.0.1:8080", admin_address="127.0.0.1:9901")
    _print_greeting(SNAPSHOT, [Path("p.yaml")], envoy, "127.0.0.1:9090", tls)
    return capsys.readouterr().err


@pytest.mark.parametrize(
    ("authority", "own"), [("", ""), ("ca.pem", "--cert client.crt --key client.key ")], ids=["any", "known clients"]
)
def test_the_request_of_the_greeting_speaks_tls(authority: str, own: str, capsys: pytest.CaptureFixture[str]) -> None:
    said = greeting(capsys, DownstreamTls("/a b/tls.crt", "/tls.key", authority))
    assert f"curl --cacert '/a b/tls.crt' {own}https://127.0.0.1:8080/" in said


def test_the_greeting_has_a_request_that_can_be_pasted(capsys: pytest.CaptureFixture[str]) -> None:
    said = greeting(capsys)
    assert "an AI gateway on http://127.0.0.1:8080" in said
    assert "policy   p.yaml (watched)" in said
    assert "envoy    http://127.0.0.1:9901/\n" in said
    assert "try      curl http://127.0.0.1:8080/v1/chat/completions " in said
    assert "models   llama, qwen-*" in said
    assert """-d '{"model": "llama", "messages": """ in said

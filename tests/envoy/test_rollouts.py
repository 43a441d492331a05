"""Rollouts through a real Envoy: model servers that are worse in one way each, and a driver that is killed."""

from __future__ import annotations

import http.client
import json
import os
import signal
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

from tests.waiting import until

from .conftest import Answer, Handler, ModelServer, say
from .test_up import Up

pytestmark = [pytest.mark.envoy, pytest.mark.timeout(180)]

Servers = Callable[..., list[ModelServer]]

POLICY = """\
apiVersion: ai.istio.io/v1alpha1
kind: ModelInferencePolicy
metadata: {{name: {name}}}
spec:
  models: [{name}]
  sticky: {{header: x-user-id}}
  versions:
  - {{name: v1, weight: 1, endpoints: ["{old}"]}}
  - {{name: v2, weight: 0, endpoints: ["{new}"]}}
  rollout:
    to: v2
    steps: [20, 100]
    interval: {interval}
    minRequests: {requests}
    guards:
    - {{metric: errors, max: 5%}}
    - {{metric: timeToFirstToken, quantile: 50, relativeTo: v1, maxRatio: 2}}
    - {{metric: outputTokens, quantile: 50, relativeTo: v1, minRatio: 0.5}}
---
"""
TOKENS = 8
CLIENTS = 6


def stream(tokens: int = TOKENS, *, late: float = 0.0, broken: bool = False) -> Answer:
    """A stream of ``tokens`` tokens, the first after ``late`` seconds; ``broken``: the connection ends amid it."""

    def chunk(text: str) -> bytes:
        return b"%x\r\n%s\r\n" % (len(text), text.encode())

    def answer(request: Handler) -> None:
        request.send_response(200)
        request.send_header("content-type", "text/event-stream")
        request.send_header("transfer-encoding", "chunked")
        request.end_headers()
        threading.Event().wait(late)
        for _ in range(tokens):
            request.wfile.write(chunk('data: {"choices": [{"index": 0, "delta": {"content": "a"}}]}\n\n'))
        if broken:
            request.close_connection = True
            return
        request.wfile.write(chunk("data: [DONE]\n\n") + b"0\r\n\r\n")

    return answer


WORSE: dict[str, Answer] = {
    "good": stream(),
    "failing": say(b"{}", status=500),
    "late": stream(late=0.3),
    "empty": stream(0),
    "broken": stream(broken=True),
}


@contextmanager
def traffic(port: int, models: tuple[str, ...], *, patience: float = 10) -> Iterator[Counter[tuple[str, str]]]:
    """Clients that ask for ``models`` in turn, each request by another user, and wait for ``patience`` seconds. Yields
    answers by (model, version).
    """
    answers: Counter[tuple[str, str]] = Counter()
    users, stopping = count(), threading.Event()

    def ask() -> None:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=patience)
        while not stopping.is_set():
            user = next(users)
            model = models[user % len(models)]
            body = json.dumps({"model": model, "stream": True, "messages": []})
            try:
                connection.request("POST", "/v1/chat/completions", body, {"x-user-id": f"user {user}"})
                response = connection.getresponse()
                answers[model, response.headers.get("x-model-version", "")] += 1
                response.read()
            except (OSError, http.client.HTTPException):
                connection.close()
        connection.close()

    threads = [threading.Thread(target=ask, daemon=True) for _ in range(CLIENTS)]
    for thread in threads:
        thread.start()
    yield answers
    stopping.set()
    for thread in threads:
        thread.join()


@pytest.fixture
def up(tmp_path: Path) -> Iterator[Callable[..., Up]]:
    with ExitStack() as stack:

        def start(text: str, *arguments: str) -> Up:
            file = tmp_path / "policy.yaml"
            file.write_text(text)
            started = Up(file, stack.enter_context(TemporaryDirectory(prefix="up-")), *arguments)
            stack.callback(started.errors.close)
            stack.callback(started.process.wait)
            stack.callback(started.process.terminate)
            return started

        yield start


def rollouts(running: Up) -> dict[str, dict[str, Any]]:
    """By policy; empty while the processor does not answer."""
    connection = http.client.HTTPConnection("127.0.0.1", running.admin, timeout=5)
    with closing(connection), suppress(OSError, http.client.HTTPException):
        connection.request("GET", "/rollouts")
        return {one["policy"]: one for one in json.load(connection.getresponse())}
    return {}


def phases(running: Up) -> dict[str, str]:
    return {name: one["phase"] for name, one in rollouts(running).items()}


def command(tmp_path: Path, *words: str) -> str:
    arguments = [sys.executable, "-m", "extproc", "rollout", words[0], "-f", str(tmp_path / "policy.yaml"), *words[1:]]
    return subprocess.run(arguments, capture_output=True, text=True, check=True).stdout


def version_of(running: Up, model: str, user: str) -> str:
    connection = http.client.HTTPConnection("127.0.0.1", running.port, timeout=10)
    with closing(connection):
        connection.request("POST", "/v1/chat/completions", json.dumps({"model": model}), {"x-user-id": user})
        response = connection.getresponse()
        response.read()
        return response.headers.get("x-model-version", "")


def test_the_good_is_promoted_and_each_kind_of_bad_rolled_back(
    up: Callable[..., Up], servers: Servers, tmp_path: Path
) -> None:
    old, *new = servers("old", *WORSE)
    old.then = stream()
    text = ""
    for server, (name, answer) in zip(new, WORSE.items(), strict=True):
        server.then = answer
        text += POLICY.format(name=name, old=old.address, new=server.address, interval="1s", requests=20)
    running = up(text, "--workers", "2")
    until(running.ready, 60)
    ended = dict.fromkeys(WORSE, "Failed") | {"good": "Completed"}
    with traffic(running.port, tuple(WORSE)) as answers:
        until(lambda: phases(running) == ended, 120, 0.2)
    found = rollouts(running)
    for name in set(WORSE) - {"good"}:
        assert [move["percent"] for move in found[name]["moves"]] == [20, 0, 0], found[name]["moves"]
        assert answers[name, "v2"] < answers[name, "v1"]
        until(lambda name=name: version_of(running, name, "user 1") == "v1")  # type: ignore[misc]
    assert "errors" in found["failing"]["reason"]
    assert "errors" in found["broken"]["reason"]
    assert "timeToFirstToken" in found["late"]["reason"]
    assert "outputTokens" in found["empty"]["reason"]
    assert [move["percent"] for move in found["good"]["moves"]] == [20, 100, 100]
    until(lambda: {version_of(running, "good", f"user {n}") for n in range(20)} == {"v2"})
    lines = running.metrics().splitlines()
    assert 'inference_rollout_step{policy="good",version="v2"} 100.0' in lines
    assert 'inference_rollout_step{policy="late",version="v2"} 0.0' in lines
    shown = json.loads(command(tmp_path, "status", "--json"))
    assert {one["policy"]: one["phase"] for one in shown} == ended


def test_one_that_answers_nothing_is_rolled_back(up: Callable[..., Up], servers: Servers) -> None:
    """Its clients give up, so that no status and no server tells of a failure."""
    old, hanging = servers("old", "hanging")
    released = threading.Event()

    def hang(request: Handler) -> None:
        released.wait(60)
        request.close_connection = True

    old.then, hanging.then = stream(), hang
    running = up(POLICY.format(name="chat", old=old.address, new=hanging.address, interval="1s", requests=20))
    until(running.ready, 60)
    with traffic(running.port, ("chat",), patience=0.5):
        until(lambda: phases(running) == {"chat": "Failed"}, 120, 0.2)
    released.set()
    assert "errors" in rollouts(running)["chat"]["reason"]


COMMANDS = {
    ("Progressing", 20): (),
    ("Paused", 20): ("pause",),
    ("Completed", 100): ("promote",),
    ("RollingBack", 0): ("abort",),
    ("Failed", 0): ("abort",),
}
"""What leads to each state."""
STATES = list(COMMANDS) if "EXTPROC_TEST_ROLLOUTS" in os.environ else [("Progressing", 20)]
"""The other states take seconds each; tests/unit/serve kills drivers in all of them, without an Envoy."""


@pytest.mark.parametrize("state", STATES)
def test_a_driver_that_is_killed_leaves_everybody_where_he_is(
    state: tuple[str, int], up: Callable[..., Up], servers: Servers, tmp_path: Path
) -> None:
    old, new = servers("old", "new")
    old.then = new.then = stream()
    running = up(POLICY.format(name="chat", old=old.address, new=new.address, interval="1h", requests=1))
    until(running.ready, 60)

    def chat() -> dict[str, Any]:
        return rollouts(running).get("chat", {})

    def placed() -> list[str]:
        """Who is where. While the processor does not answer in time, Envoy passes on by weight and nobody says."""
        found: list[str] = []

        def all_told() -> bool:
            if version := version_of(running, "chat", f"user {len(found)}"):
                found.append(version)
            return len(found) == 60

        until(all_told, 60)
        return found

    def is_at(phase: str, percent: int) -> bool:
        return (chat().get("phase"), chat().get("percent")) == (phase, percent)

    until(lambda: is_at("Progressing", 20))
    for action in COMMANDS[state]:
        command(tmp_path, action)
    until(lambda: is_at(*state))
    share = state[1] / 100
    until(lambda: chat()["weights"] == {"v1": 1 - share, "v2": share})
    before = placed()
    assert abs(before.count("v2") - 60 * share) < 14  # 4.5 standard deviations
    until(lambda: chat()["requests"].get("v2", 0) >= before.count("v2") or chat()["phase"] != "Progressing")
    killed = running.children()["processor"]
    os.kill(killed, signal.SIGKILL)
    until(lambda: running.children().get("processor", killed) != killed and chat(), 30)
    assert is_at(*state) or state == ("RollingBack", 0)
    assert chat()["weights"] == {"v1": 1 - share, "v2": share}
    assert chat()["requests"].get("v2", 0) >= before.count("v2") or state[0] != "Progressing"
    assert placed() == before
    until(lambda: is_at("Failed", 0) or share)

"""The demo's run with a stub in the place of the gateway: results, exit statuses, signals, and nothing left."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import yaml

from extproc.demo import run as module
from extproc.demo.checks import Check
from extproc.demo.evidence import Counters, Evidence, PolicyTarget
from extproc.demo.run import POLICY, policy_for, run
from extproc.demo.traffic import Answer, Request
from extproc.errors import SetupError
from tests.policy_documents import load_texts


class Gateway:
    """In the place of the gateway: no traffic passes through, its counters never settle."""

    url = "http://gateway"

    def __init__(self, policy: Path) -> None:
        self.policy = policy
        self.asked = 0

    @classmethod
    @asynccontextmanager
    async def running(cls, policy: Path) -> AsyncIterator[Gateway]:
        gateways.append(cls(policy))
        yield gateways[-1]

    async def counters(self, targets: Sequence[PolicyTarget]) -> Counters:
        assert len(targets) == 3
        self.asked += 1
        return Counters(unmatched=self.asked)


gateways: list[Gateway] = []


@pytest.fixture(autouse=True)
def _stubs(monkeypatch: pytest.MonkeyPatch) -> None:
    async def drive(url: str, requests: Sequence[Request], done: Callable[[], None]) -> list[Answer]:
        assert url == Gateway.url
        for _ in requests:
            done()
        return [Answer(request, 200, 0.1) for request in requests]

    gateways.clear()
    monkeypatch.setattr(module, "Gateway", Gateway)
    monkeypatch.setattr(module, "drive", drive)
    monkeypatch.setattr(module, "settled", lambda evidence: evidence.counters.unmatched == 3)
    monkeypatch.setattr(module, "verify", lambda _: [Check("all", True, "well")])


def test_json_is_all_that_is_on_stdout(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(as_json=True, requests=10, seed=5) == 0
    printed = capsys.readouterr()
    report = json.loads(printed.out)
    assert (report["ok"], report["seed"], report["checks"]) == (
        True,
        5,
        [{"name": "all", "ok": True, "detail": "well"}],
    )
    assert "Model servers: llama-3-8b v1 on 127.0.0.1:" in printed.err
    assert f"Traffic: {report['requests']} requests to http://gateway (seed 5)" in printed.err


def test_the_gateway_has_the_demo_s_policy_with_the_servers_ports() -> None:
    texts: list[Path] = []

    def verify(evidence: Evidence) -> list[Check]:
        texts.append(gateways[0].policy)
        assert [target.version for target in evidence.targets] == ["v1", "v2", "v1"]
        endpoints = {endpoint for target in evidence.targets for endpoint in target.endpoints}
        assert endpoints.isdisjoint({"127.0.0.1:9001", "127.0.0.1:9002", "127.0.0.1:9003"})
        return [Check("all", True, "")]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "verify", verify)
        assert run(as_json=True, requests=10, seed=1) == 0
    assert not texts[0].parent.exists(), "the directory is gone"


def test_counters_are_read_until_they_settle() -> None:
    run(as_json=True, requests=10, seed=1)
    assert gateways[0].asked == 3


def test_counters_that_never_settle_are_taken_as_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "settled", lambda _: False)
    monkeypatch.setattr(module, "_SETTLE_TIMEOUT", 0.0)
    assert run(as_json=True, requests=10, seed=1) == 0
    assert gateways[0].asked <= 2


def test_a_check_that_fails_fails_the_demo(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(module, "verify", lambda _: [Check("all", True, ""), Check("split", False, "not at all")])
    assert run(requests=10, seed=1) == 1
    assert "1 of 2 checks failed" in capsys.readouterr().out


def test_without_a_seed_each_run_has_another(capsys: pytest.CaptureFixture[str]) -> None:
    seeds = []
    for _ in range(2):
        run(as_json=True, requests=10)
        seeds.append(json.loads(capsys.readouterr().out)["seed"])
    assert seeds[0] != seeds[1]


def test_an_error_of_the_gateway_is_raised(monkeypatch: pytest.MonkeyPatch) -> None:
    async def fail(*_: object) -> Counters:
        raise SetupError("the gateway ended")

    monkeypatch.setattr(Gateway, "counters", fail)
    with pytest.raises(SetupError, match="the gateway ended"):
        run(requests=10, seed=1)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_stops_it_and_more_change_nothing(
    number: signal.Signals, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    cleaned: list[bool] = []

    async def drive(*_: object, **__: object) -> list[Answer]:
        os.kill(os.getpid(), number)
        try:
            await asyncio.Event().wait()
        finally:
            os.kill(os.getpid(), signal.SIGTERM)
            await asyncio.sleep(0.01)
            cleaned.append(True)
        return []

    monkeypatch.setattr(module, "drive", drive)
    assert run(as_json=True, requests=10, seed=1) == 128 + number
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.splitlines()[-1] == "Stopped; nothing is left running."
    assert cleaned == [True]


def test_the_policy_is_the_file_s_with_other_endpoints() -> None:
    endpoints = ["127.0.0.1:9002", "127.0.0.1:2", "127.0.0.1:3"]
    text = policy_for(endpoints)
    original = POLICY.read_text()
    assert load_texts([("p.yaml", text)]).warnings == ()
    found = [e for document in yaml.safe_load_all(text) for e in (document.get("spec") or {}).get("endpoints", [])]
    assert found == endpoints, "each is replaced once: what stands in for one is not another"
    assert len(text.splitlines()) == len(original.splitlines())
    with pytest.raises(ValueError, match="argument"):
        policy_for(endpoints[:2])

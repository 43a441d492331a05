"""The pipeline's run with all of it in place but Envoy, the processor and their traffic: results, statuses, files."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import aiohttp
import pytest

from extproc.demo.checks import Check
from extproc.demo.evidence import policy_targets
from extproc.demo.pipeline import run as module
from extproc.demo.pipeline import stages
from extproc.demo.pipeline.collector import Collector
from extproc.demo.pipeline.jaeger import Stored
from extproc.demo.pipeline.run import POLICY, Services, run
from extproc.demo.pipeline.stages import CLASSIFIER, LLM, SIDECARS
from extproc.demo.pipeline.traffic import Answer, Ask
from extproc.errors import SetupError
from extproc.policyfile import loader

STATS = json.dumps({"stats": []}).encode()


class Stub:
    """In the place of the pipeline: nothing is asked, and its counters never settle."""

    def __init__(self) -> None:
        self.gateway = self.admin = "127.0.0.1:1"
        self.collector = Collector()
        self.services = SimpleNamespace(arrivals=[], usages=[])
        self.jaeger: Any = None
        self.looks = 0

    async def texts(self, _: Path) -> dict[str, bytes]:
        self.looks += 1
        return {"Envoy's statistics": STATS, "/metrics": b""}


stub: Stub


@pytest.fixture(autouse=True)
def _stubs(monkeypatch: pytest.MonkeyPatch) -> None:
    global stub
    stub = Stub()

    @asynccontextmanager
    async def pipeline(*_: object) -> AsyncIterator[tuple[Stub, Any]]:
        yield stub, policy_targets(loader.load([POLICY]).snapshot)

    async def drive(_: object, url: str, asks: Sequence[Ask], token: str) -> list[Answer]:
        assert (url, len(token)) == ("http://127.0.0.1:1", 32)
        return [Answer(ask, 200, 1, 2, 0.1) for ask in asks]

    monkeypatch.setattr(module, "pipeline", pipeline)
    monkeypatch.setattr(module, "_drive", drive)
    monkeypatch.setattr(module, "settled", lambda _: stub.looks == 2)
    monkeypatch.setattr(module, "verify", lambda _: [Check("all", True, "well")])


def test_json_is_all_that_is_on_stdout(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(as_json=True, requests=10, seed=5) == 0
    printed = capsys.readouterr()
    report = json.loads(printed.out)
    assert (report["ok"], report["seed"], report["requests"]) == (True, 5, 10)
    assert "Traffic: 10 requests to http://127.0.0.1:1 (seed 5)" in printed.err


def test_the_clients_spans_are_sent_and_everything_is_waited_for() -> None:
    run(as_json=True, requests=10, seed=5)
    assert len(stub.collector.spans()) == 10
    assert stub.looks == 2


def test_a_jaeger_is_asked_until_it_has_everything(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[list[str]] = []

    class Jaeger:
        async def stored(self, traces: Iterable[str]) -> Stored:
            asked.append([*traces])
            return Stored()

    stub.jaeger = Jaeger()
    monkeypatch.setattr(module, "in_jaeger", lambda _: Check("in Jaeger", len(asked) == 2, ""))
    run(as_json=True, requests=10, seed=5)
    assert [len(traces) for traces in asked] == [10, 10]


def test_what_never_comes_is_not_waited_for_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "settled", lambda _: False)
    monkeypatch.setattr(module, "_SETTLE_TIMEOUT", 0.0)
    assert run(as_json=True, requests=10, seed=1) == 0
    assert stub.looks <= 2


def test_a_check_that_fails_fails_the_demo(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(module, "verify", lambda _: [Check("whole", False, "not at all")])
    assert run(requests=10, seed=1) == 1
    printed = capsys.readouterr()
    assert "1 of 1 checks failed" in printed.out
    assert "demo pipeline --keep" in printed.err


def test_a_processor_that_is_gone_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    async def gone(*_: object) -> dict[str, bytes]:
        raise aiohttp.ClientConnectionError("refused")

    monkeypatch.setattr(Stub, "texts", gone)
    with pytest.raises(SetupError, match="does not tell what it counted: refused"):
        run(as_json=True, requests=10, seed=1)


def test_the_policies_have_the_addresses_and_files_of_this_run(tmp_path: Path) -> None:
    at = stages.free()

    async def main() -> tuple[Services, Path]:
        services = Services(at.outbound, 1, "the key")
        async with services.running(tmp_path):
            assert services.apps.keys() == set(SIDECARS)
            return services, module._policy(tmp_path, at, services, "the key")

    services, policy = asyncio.run(main())
    assert (tmp_path / "hosted.key").read_text() == "the key\n"
    assert (tmp_path / "hosted.key").stat().st_mode & 0o077 == 0
    targets = {target.model: target for target in policy_targets(loader.load([policy]).snapshot)}
    assert targets["llama-3-8b"].endpoints == (at.inbound[LLM],)
    assert targets["iris"].endpoints == (at.inbound[CLASSIFIER],)
    assert targets["gpt-4o-mini"].endpoints == (services.hosted.endpoint,)
    assert str(tmp_path / "hosted-ca.pem") in policy.read_text()
    assert "/etc/aimesh" not in policy.read_text()
    assert targets.keys() == {target.model for target in policy_targets(loader.load([POLICY]).snapshot)}

"""The load generator: a stall is measured by all requests that it delays; every request's outcome is a sample."""

from __future__ import annotations

import asyncio
import io
import socket
import time
from collections.abc import Iterator
from types import SimpleNamespace

import pytest
from rich.console import Console

from extproc.cli import load_generator
from extproc.cli.load_generator import Plan, Sample, closed_loop, generate, open_loop
from extproc.errors import SetupError
from tests.unit.cli.stub_servers import ModelServer, serving

SILENT = Console(quiet=True)


def stalling(seconds: float) -> object:
    """A server that answers one request at a time, at once, but for the first, which takes a while."""
    turn = asyncio.Lock()
    pending = [seconds]

    async def send(due: float) -> Sample:
        async with turn:
            if pending:
                await asyncio.sleep(pending.pop())
        return Sample("200", 0.0, time.perf_counter() - due, None)

    return send


def test_a_stall_is_measured_by_every_request_that_was_due_meanwhile() -> None:
    samples = asyncio.run(open_loop(stalling(0.3), 100, 0.6))  # type: ignore[arg-type]
    assert len(samples) == 60
    delayed = [s for s in samples if s.total > 0.05]
    assert len(delayed) >= 20  # due within the 0.3 s, but for those near its end
    assert max(s.total for s in samples) >= 0.3


def test_a_rate_below_one_per_turn_sends_one_request() -> None:
    assert len(asyncio.run(open_loop(stalling(0), 0.1, 1))) == 1  # type: ignore[arg-type]


def test_a_closed_loop_sends_on_every_connection_until_time_is_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """By a clock on which every answer takes a second."""
    now, open_now, highest = 0.0, 0, 0
    monkeypatch.setattr(load_generator, "time", SimpleNamespace(perf_counter=lambda: now))

    async def send(due: float) -> Sample:
        nonlocal now, open_now, highest
        open_now += 1
        highest = max(highest, open_now)
        await asyncio.sleep(0)
        open_now -= 1
        now += 1
        return Sample("200", 0.0, now - due, None)

    samples = asyncio.run(closed_loop(send, 8, 24))
    assert highest == 8
    assert len(samples) == 8 + 23, "eight at once, and one after each answer within the time"


@pytest.mark.parametrize(
    ("outcome", "ok"), [("200", True), ("204", True), ("399", True), ("400", False), ("503", False), ("Timeout", False)]
)
def test_what_is_a_good_answer(outcome: str, ok: bool) -> None:
    assert Sample(outcome, 0, 0, None).ok is ok


class FailsAfterOne(ModelServer):
    """Its first answer is good."""

    answered = 0

    def do_POST(self) -> None:  # noqa: N802
        FailsAfterOne.answered += 1
        if FailsAfterOne.answered > 1:
            self.headers["x-fail"] = "1"
        super().do_POST()


@pytest.fixture
def url() -> Iterator[str]:
    with serving(ModelServer) as address:
        yield f"http://{address}"


@pytest.mark.parametrize("rate", [0.0, 200.0])
def test_two_addresses_in_turns(rate: float, url: str) -> None:
    plan = Plan((url, url + "/"), "/v1/chat/completions", b"{}", rate=rate, connections=4, seconds=0.3)
    samples = generate(plan, SILENT)
    assert list(samples) == [url, url + "/"]
    for one in samples.values():
        assert {s.outcome for s in one} == {"200"}
        assert {s.route for s in one} == {0.0015}
        assert all(0 < s.first <= s.total for s in one)
    if rate:
        assert len(samples[url]) == 60


def test_progress_is_for_terminals_only(url: str) -> None:
    told = io.StringIO()
    generate(Plan((url,), "/", b"{}", (), connections=1, seconds=0.01), Console(file=told))
    assert told.getvalue() == ""


def test_a_target_that_fails_every_probe_is_not_measured(url: str) -> None:
    plan = Plan((url,), "/", b"{}", (("x-fail", "1"),), connections=2, seconds=0.1)
    with pytest.raises(
        SetupError, match=r"/ fails every request \(503\); see in its log why, and whether model servers run"
    ):
        generate(plan, SILENT)


def test_failures_after_the_first_good_answer_are_samples() -> None:
    with serving(FailsAfterOne) as address:
        plan = Plan((f"http://{address}",), "/", b"{}", connections=2, seconds=0.1)
        assert {s.outcome for s in generate(plan, SILENT)[f"http://{address}"]} == {"503"}


def test_an_address_that_does_not_answer_is_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with pytest.raises(SetupError, match=f"cannot reach 127.0.0.1:{port}: .*; is it running"):
        generate(Plan((f"http://127.0.0.1:{port}",), "/", b"{}", seconds=0.1), SILENT)

"""The catalogue does what it says, costs what it is counted for, and is told as lines of a table."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from extproc.envoy.codec import PROCESS
from extproc.serve.grpc_health import Health
from tests.attack import __main__ as attack
from tests.attack.floods import FLOODS, pieces
from tests.attack.well_behaved import FAILURES, LOST, WellBehaved, well_behaved, written
from tests.envoy.conftest import ModelServer
from tests.fuzz.steps import steps
from tests.grpc.served import Served
from tests.http2.served import Noted, fetched
from tests.http2.served import Served as Connected
from tests.http2.wire import errors
from tests.waiting import until

MOST_STEPS = 35
"""Of a unit of work (see ``tests.fuzz.steps``)."""


def connected() -> Connected:
    served = Connected()
    served.service.factories = {path.encode(): factory for path, factory in Health().services().items()} | {
        PROCESS.encode(): lambda send: Noted(send)
    }
    return served


@pytest.mark.parametrize("name", FLOODS)
def test_who_is_ended_for_it(name: str) -> None:
    served, answer = connected(), b""
    for piece in pieces(FLOODS[name], 1 << 21):
        served.connection.receive(piece)
        answer += fetched(served.connection)
    farewells = [code for kind, _, code in errors(answer) if kind == "GOAWAY"]
    assert farewells == ([11] if FLOODS[name].ends else [])


@pytest.mark.parametrize("name", FLOODS)
def test_what_is_counted_as_a_unit_of_work_costs_about_the_same(name: str) -> None:
    """What one connection gets in a turn costs the others no more, whatever it sends."""
    served, room = connected(), 1 << 30
    hello, *said = pieces(FLOODS[name], 1 << 16)
    served.connection.receive(hello)
    taken = steps(lambda: served.connection.receive(b"".join(said), 0.0, room))
    assert taken < MOST_STEPS * (room - served.connection.work)


@pytest.fixture
def flooded(tmp_path: Path) -> Iterator[tuple[Served, WellBehaved]]:
    """An engine of few streams, and an Envoy that asks it."""
    with ExitStack() as stack:
        policy = written(tmp_path, stack.enter_context(ModelServer("upstream")))
        server = stack.enter_context(Served(policy, "--max-streams", "100")).ready()
        yield server, stack.enter_context(well_behaved(policy, server))


@pytest.mark.envoy
def test_a_flood_fails_no_request_of_an_envoy(flooded: tuple[Served, WellBehaved]) -> None:
    server, client = flooded
    sent, name = Counter[str](), "SETTINGS over 4,096 streams"
    while not sent["bytes"]:  # the attacker gets what others leave
        outcome = attack.attack(name, server, client, connections=4, seconds=1.0, rounds=1)
        sent = outcome.sent
    assert not outcome.failures.total()
    assert len(outcome.quiet) == len(outcome.attacked) == 1
    assert outcome.row().endswith(" | none |")
    assert outcome.row().count("|") == attack.HEAD.splitlines()[0].count("|")


@pytest.mark.envoy
def test_what_fails_is_told(flooded: tuple[Served, WellBehaved]) -> None:
    server, client = flooded
    client.ask()
    assert not client.failures().total()
    server.process.kill()
    server.process.wait()
    client.ask()
    until(lambda: client.failures()["failure_mode_allowed"] == 2)  # the decision's and the observation's
    failures = client.failures()
    assert failures.keys() == {*FAILURES, LOST}
    outcome = attack.Outcome("GOAWAY", failures, 0.0, 0.0, [client.watch(0)], [client.watch(0)], failures)
    assert "2 failure_mode_allowed" in outcome.row()

"""What the table of added CPU is made of, and that any external processor can stand in it."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import msgspec
import pytest

from benchmarks.mesh.bench import RunningScenario, Turn
from benchmarks.mesh.budget import LONG, SHORT, markdown, summarize
from benchmarks.mesh.earlier import earlier
from benchmarks.mesh.external import external
from benchmarks.mesh.scenarios import BASELINE, POLICY
from benchmarks.mesh.upstream import start_upstream
from benchmarks.ours import ROOT


def _turns(*rounds: tuple[float, float]) -> list[Turn]:
    """From (processor's CPU, Envoy's CPU)."""
    return [Turn(number, server, envoy, 0, 0, 0, 0) for number, (server, envoy) in enumerate(rounds)]


TURNS = {
    (BASELINE, SHORT.name): _turns((0, 100), (0, 200), (0, 300)),
    (BASELINE, LONG.name): _turns((0, 1000), (0, 1000), (0, 1000)),
    ("ours", SHORT.name): _turns((50, 150), (50, 270), (50, 310)),  # 100, 120, 60
    ("ours", LONG.name): _turns((900, 2000), (900, 2000), (900, 2000)),
    ("theirs", SHORT.name): _turns((50, 250), (10, 220), (10, 250)),  # 200, 30, -40: it adds nothing
}
PAIRS = [("ours", "theirs")]
BRIEF = msgspec.structs.replace(SHORT, lead=0)


def test_what_is_added_is_compared_within_a_round() -> None:
    budget = summarize(TURNS, {}, PAIRS)
    assert budget.baseline == {SHORT.name: 200, LONG.name: 1000}
    ours = budget.added["ours"][SHORT.name]
    assert (ours.total, ours.range, ours.processor, ours.envoy) == (100, (60, 120), 50, 50)
    assert budget.ratios == {"ours / theirs": {SHORT.name: pytest.approx((100 / 200 + 120 / 30) / 2)}}


def test_a_token_costs_what_long_streams_cost_more_than_short_ones() -> None:
    budget = summarize(TURNS, {}, PAIRS)
    assert budget.token == {"ours": pytest.approx((1900 - 100) / (LONG.tokens - SHORT.tokens))}


def test_every_cell_is_in_the_documentation() -> None:
    text = markdown(summarize(TURNS, {"machine": "some"}, PAIRS))
    assert f"| {BASELINE} | 200 in all | 1,000 in all |  |" in text
    assert "| ours | 100 (50) | 1,900 (900) | 1.0 |" in text
    assert "| theirs | 30 (10) | - | - |" in text
    assert "- machine: some" in text


@pytest.mark.parametrize("text", ["", "name", "name=", "=command {port}", "name=command", "name:loud=command {port}"])
def test_a_peer_without_name_port_or_known_mode_is_refused(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError):
        external(text)


@pytest.mark.parametrize("text", ["", "before", "=.", "before=/nowhere", "before=docs"])
def test_what_is_no_checkout_is_refused(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError):
        earlier(text)


@pytest.fixture(scope="module")
def upstream(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with ExitStack() as stack:
        yield start_upstream(stack, tmp_path_factory.mktemp("upstream") / "server")


@pytest.mark.envoy
@pytest.mark.parametrize(
    "mode", ["", ":streamed", ":duplex"] if "EXTPROC_TEST_BENCHMARKS" in os.environ else [":duplex"]
)
def test_an_external_processor_runs_beside_ours(mode: str, upstream: str, tmp_path: Path) -> None:
    policy = tmp_path / "policy.yaml"
    policy.write_text(POLICY.replace("UPSTREAM", "127.0.0.1:9"))
    serve = f"{sys.executable} -m extproc serve -f '{policy}' --admin 127.0.0.1:0 --listen 127.0.0.1:{{port}}"
    with ExitStack() as stack:
        standing = RunningScenario(external(f"other{mode}={serve}"), stack, tmp_path / "other", upstream)
        turn = standing.turn(0, BRIEF, tmp_path, 0.1)
    assert (turn.errors, turn.server_cpu > 0) == (0, True)


@pytest.mark.envoy
@pytest.mark.skipif("EXTPROC_TEST_BENCHMARKS" not in os.environ, reason="it compiles: make test-benchmarks")
def test_another_checkout_runs_beside_ours(upstream: str, tmp_path: Path) -> None:
    with ExitStack() as stack:
        standing = RunningScenario(earlier(f"before={ROOT}"), stack, tmp_path / "before", upstream)
        turn = standing.turn(0, BRIEF, tmp_path, 0.1)
    assert (turn.errors, turn.server_cpu > 0) == (0, True)

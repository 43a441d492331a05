"""The simulated servers do what they say, and picks by prefix are worth what docs/picking.md says, on a small scale."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import msgspec
import pytest

from benchmarks.picking import __main__ as command
from benchmarks.picking.gpus import H100, L40S
from benchmarks.picking.server import ADAPTERS, BLOCK, LOADING, MOST_TOKENS, Job, Server
from benchmarks.picking.simulation import Simulation, summary
from benchmarks.picking.traffic import LOADS, NOTHING, Load, Text
from extproc.policy.picking import LEAST_LOADED, PREFIX, ROUND_ROBIN, Picking


def job(text: Text, answer: int = 4, adapter: str = "") -> Job:
    return Job(0.0, text.blocks, text.tokens, answer, adapter, text.with_more(bytes(4 * answer)).blocks)


def text(tokens: int, fill: int = 0) -> Text:
    return NOTHING.with_more(bytes([fill]) * (4 * tokens))


def run(server: Server, *jobs: Job) -> float:
    """Serves them; the seconds that it took."""
    for one in jobs:
        server.add(one)
    now = 0.0
    while not server.idle:
        now += server.begin()
        server.end(now)
    return now


def test_each_step_reads_the_weights_and_computes_the_tokens() -> None:
    one = H100.step(1, 0, 0)
    assert one == pytest.approx(0.001 + 16.06e9 / (0.8 * 3.35e12), rel=0.01)
    assert H100.step(8192, 0, 0) == pytest.approx(0.001 + 8192 * 16.06e9 / (0.5 * 989e12), rel=0.01)
    assert H100.step(1, 0, 100_000) - one == pytest.approx(100_000 * 131072 / (0.8 * 3.35e12))
    assert L40S.step(1, 0, 0) > 3 * one
    assert msgspec.structs.replace(H100, slowness=4.0).step(1, 0, 0) == 4 * one
    assert 380_000 < H100.cached_tokens < 450_000


def test_an_answer_takes_a_step_for_each_token_and_a_long_prompt_several() -> None:
    short, long = job(text(100), answer=10), job(text(3 * MOST_TOKENS), answer=1)
    server = Server(H100)
    assert run(server, short) == pytest.approx(short.ended)
    assert 9 * H100.step(1, 0, 0) < short.ended - short.first < 10 * H100.step(1, 0, 200)
    run(server, long)
    assert long.first == long.ended > 3 * H100.step(MOST_TOKENS, 0, 0)


def test_a_request_joins_after_the_step_that_is_under_way() -> None:
    server, first, second = Server(H100), job(text(100), answer=50), job(text(64, 1), answer=1)
    server.add(first)
    now = server.begin()
    server.end(now)
    assert first.first == now
    step = H100.step(1, 0, 100)
    whole = server.begin()
    assert 49 * step < whole < 49.1 * step
    server.add(second)
    joins = server.join(2.5 * step)
    assert 3 * step < joins < 3.1 * step
    assert server.join(3.5 * step) == joins, "once it is to be looked at, nothing goes on before"
    now += joins
    assert server.end(now) == []
    reads = server.begin()
    assert server.end(now + reads) == [second]
    assert second.first == now + reads < first.first + 4.1 * step + H100.step(64, 0, 0)
    assert run(server) == pytest.approx(45 * step, rel=0.01)


def test_what_begins_alike_is_computed_once() -> None:
    server, first = Server(H100), text(4096, 1)
    again = first.with_more(b"x" * 400)
    jobs = [job(first), job(again), job(first), job(text(4096, 2))]
    for one in jobs:
        run(server, one)
    assert [one.cached for one in jobs] == [0, 4096, 4096 - BLOCK, 0]
    assert jobs[1].first < jobs[0].first / 4
    assert server.cache == 0


def test_an_answer_is_cached_for_the_next_question() -> None:
    server, first = Server(H100), text(160, 1)
    after = first.with_more(b"a" * 4 * 32)
    run(server, Job(0.0, first.blocks, 160, 32, "", after.blocks))
    following = job(after.with_more(b"q" * 64))
    run(server, following)
    assert following.cached == 192


def test_what_was_not_used_for_longest_is_forgotten_and_nothing_exceeds_the_memory() -> None:
    small = msgspec.structs.replace(H100, memory=(18.06e9 + 131072 * 16_000) / 0.9)
    server = Server(small)
    texts = [text(4000, number) for number in range(5)]
    jobs = [job(one) for one in texts]
    run(server, *jobs)
    assert max(one.ended for one in jobs) > jobs[0].ended, "they do not fit in together"
    oldest, newest = job(texts[0]), job(texts[4])
    run(server, newest)
    run(server, oldest)
    assert newest.cached
    assert oldest.cached < newest.cached


def test_adapters_are_loaded_one_after_the_other_and_at_most_so_many() -> None:
    server = Server(H100)
    jobs = [job(text(64, number), answer=50, adapter=f"a{number}") for number in range(ADAPTERS + 1)]
    took = run(server, *jobs)
    assert took > (ADAPTERS + 1) * LOADING
    assert jobs[-1].first > min(one.ended for one in jobs[:-1])
    assert len(server.adapters) == ADAPTERS


EIGHTY_THOUSAND = msgspec.structs.replace(H100, memory=(18.06e9 + 131072 * 80_000) / 0.9)
SMALL = Load("small", "", 5.0, (EIGHTY_THOUSAND,) * 4, 20, 6000, 2.0, question=(150.0, 0.8), answer=(50.0, 0.6))
"""All four servers together can hold the system prompts, and none can alone."""


@pytest.mark.parametrize(("replicas", "times"), [(1, 2.0), (2, 1.5)])
def test_prefixes_make_first_tokens_come_faster(replicas: int, times: float) -> None:
    found = {}
    for by in (ROUND_ROBIN, PREFIX):
        simulation = Simulation(SMALL, Picking(by=by), 1, replicas)
        done = simulation.run(20)
        assert len(done) == simulation.asked > 100
        found[by] = summary(done, 8, 20)
    assert found[ROUND_ROBIN]["mean"] > times * found[PREFIX]["mean"]
    assert found[PREFIX]["cached"] > found[ROUND_ROBIN]["cached"]


def test_the_table_has_every_load_and_way(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    words = ["--seconds", "1", "--seed", "7", "--jobs", "1", "--load", "slow", "--out", str(tmp_path)]
    monkeypatch.setattr(sys, "argv", ["picking", *words, "--by", LEAST_LOADED, "--by", PREFIX])
    command.main()
    out = capsys.readouterr().out
    assert "| one slow server | round-robin |" in out
    assert out.count("\n|  |") == 2
    assert "p99 lower with a slow server: " in out
    runs = json.loads((tmp_path / "picking.json").read_text())["runs"]
    assert [run["by"] for run in runs] == [ROUND_ROBIN, LEAST_LOADED, PREFIX]
    # Runs that are in the file are not run again.
    monkeypatch.setattr(command, "measure", lambda *_: pytest.fail("a run anew"))
    monkeypatch.setattr(sys, "argv", ["picking", *words, "--by", PREFIX])
    command.main()
    assert capsys.readouterr().out.count("| prefix |") == 1
    assert {load.name for load in LOADS} >= {"shared", "mixed", "unique", "slow", "gpus", "lora"}

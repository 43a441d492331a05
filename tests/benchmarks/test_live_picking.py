"""The little servers answer when the simulated ones would, and the whole of it works behind the real Envoy."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Iterator
from contextlib import AsyncExitStack, nullcontext
from itertools import islice
from pathlib import Path

import aiohttp
import msgspec
import pytest
from aiohttp import web

from benchmarks.picking import live
from benchmarks.picking.gpus import H100
from benchmarks.picking.live_clients import Clients
from benchmarks.picking.live_servers import LiveServer
from benchmarks.picking.server import ADAPTERS, LOADING
from benchmarks.picking.traffic import Conversation, Load
from extproc.policy.metrics_page import read_page
from extproc.policy.picking import PREFIX, ROUND_ROBIN


class Few(Load, frozen=True):
    """The first conversations of a load."""

    def conversations(self, seconds: float, seed: int) -> Iterator[Conversation]:
        """Ten."""
        return islice(super().conversations(seconds, seed), 10)


FEW = Few("few", "", 5.0, (H100,), 1, 64, 2.0, question=(20.0, 0.5), answer=(4.0, 0.5))
SECONDS, STRETCH = 10_000.0, 0.01


async def talk(load: Load = FEW) -> tuple[Clients, LiveServer, str]:
    """Clients and one server, without a gateway, and the server's page at the end."""
    server = LiveServer(0, H100, STRETCH)
    async with AsyncExitStack() as stack:
        app = web.Application()
        app.router.add_post("/v1/chat/completions", server.answer)
        app.router.add_get("/metrics", server.page)
        runner = web.AppRunner(app)
        await runner.setup()
        stack.push_async_callback(runner.cleanup)
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        session = await stack.enter_async_context(aiohttp.ClientSession())
        clients = Clients(url, STRETCH, session)
        await clients.run(load, SECONDS, 1)
        async with session.get(f"{url}/metrics") as response:
            return clients, server, await response.text()


def test_conversations_are_the_simulators_and_answers_take_no_less() -> None:
    talks = list(FEW.conversations(SECONDS, 1))
    asked = {(round(one.at, 6), one.start.with_more(one.turns[0].question).tokens) for one in talks}
    clients, server, page = asyncio.run(talk())
    assert not clients.failed
    first = [one for one in clients.done if (round(one.came, 6), one.prompt) in asked]
    later = [one for one in clients.done if (round(one.came, 6), one.prompt) not in asked]
    assert len(first) == len(asked) == 10
    assert len(later) == sum(len(one.turns) - 1 for one in talks) > 0
    assert min(one.cached for one in later) > FEW.system_tokens, "what was asked and answered before is cached, too"
    for one in clients.done:
        assert one.took >= one.first_token > H100.step(1, 0, 0)
    load = read_page("vllm", page.encode())
    assert (load.waiting, load.running, load.cache, load.block_size) == (0, 0, 0, 16)
    assert min(server.late) >= 0


def test_an_adapter_is_loaded_for_whoever_asks_for_it_first() -> None:
    load = Few("adapters", "", 5.0, (H100,), question=(20.0, 0.5), answer=(4.0, 0.5), adapters=40)
    first: dict[str, float] = {}
    for one in load.conversations(SECONDS, 1):
        first.setdefault(one.adapter, round(one.at, 6))
    clients, server, page = asyncio.run(talk(load))
    assert not clients.failed
    assert len(first) > ADAPTERS >= len(server.server.adapters), "others had to make room"
    waited = {round(one.came, 6): one.first_token for one in clients.done}
    assert min(waited[at] for at in first.values()) >= LOADING
    assert f'max_lora="{ADAPTERS}"' in page


def test_a_run_beside_another_keeps_both(tmp_path: Path) -> None:
    def figures(by: str) -> live.Figures:
        times = {"mean": 0.1, "p99": 0.2, "cached": 0.5}
        return live.Figures("slow", by, 1, 9.0, 1.0, times, times, {}, 1.0, {"Envoy": 0.1}, 0.2, {"steps": 0.001})

    path = tmp_path / "picking-live.json"
    path.write_bytes(msgspec.json.encode([figures(ROUND_ROBIN)]))
    both = live.merged(path, [figures(PREFIX)])
    assert [one.by for one in both] == [ROUND_ROBIN, PREFIX]
    assert live.table(both).count("| 1.00 (1.00) | 1.00 (1.00) | 50 % (50) | 10 + 20 % |  |") == 2
    assert msgspec.structs.replace(both[0], others=0.65).disturbed


def test_what_was_not_served_as_picked_is_told() -> None:
    page = 'inference_picks_served_total{by="picked"} 3.0\ninference_picks_served_total{by="fallback"} 1.0\n'
    assert live.served_as_picked(page) == 0.75
    assert live.served_as_picked("") == 1


@pytest.mark.skipif("EXTPROC_TEST_BENCHMARKS" not in os.environ, reason="make test-benchmarks: starts what it measures")
@pytest.mark.parametrize(
    ("load", "by"),
    [("slow", ROUND_ROBIN), ("slow", PREFIX), ("mixed", PREFIX), ("gpus", PREFIX), ("lora", PREFIX)],
)
def test_behind_the_real_envoy(load: str, by: str) -> None:
    found = asyncio.run(live.measure(live.Case(load, by, 4.0, 2.0, written=True), nullcontext()))
    assert not found.failed
    assert found.measured["requests"] == found.simulated["requests"]
    assert found.picked == 1
    assert set(found.cpu) >= {"clients", "model servers", "Envoy", "processor"}
    json.dumps(msgspec.to_builtins(found))

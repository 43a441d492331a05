"""What an adaptive circuit breaker does for a model server that loses nine tenths of its strength, and regains it.

`python -m benchmarks.breaking` runs the gateway (`extproc up`: a real Envoy, the processor) four times under the same
open load, and prints the table of docs/circuit-breaking.md; with --out it writes results and chart.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import urllib.request
from collections import deque
from collections.abc import Sequence
from contextlib import AsyncExitStack, suppress
from importlib.util import find_spec
from pathlib import Path
from random import Random
from time import perf_counter
from typing import Any

import aiohttp
import msgspec
from aiohttp import web

from benchmarks.local_gateway import client, gateway, serve

PLACES, LEFT = 80, 8
"""Answers that the server makes at once: normally, and while it is weak."""
FIRST_TOKEN, TOKENS, GAP = 0.2, 4, 0.25
"""Of an answer that need not wait: seconds to the first token on the median, tokens, seconds between two."""
RATE = 48.0
"""Requests a second, three quarters of what the server can do normally."""
NORMAL, WEAK, AFTER = 30.0, 90.0, 40.0
"""Seconds of each phase."""
MARGIN = 1.5
"""A good answer has its first token within so many times the p95 of the normal phase."""
SETTLING = 5.0
"""Seconds after which what was admitted before the loss was seen has been answered."""
RECOVERY = 5.0
"""Seconds over which answers are counted to see whether the gateway has recovered."""
POLICY = """\
apiVersion: ai.istio.io/v1alpha1
kind: ModelInferencePolicy
metadata: {{name: chat}}
spec:
  versions:
  - {{name: v2, weight: 1, endpoints: ["{first}"]}}
  - {{name: v1, weight: 0, endpoints: ["{second}"]}}
  {traffic}
"""
ADAPTIVE = "trafficManagement: {circuitBreaker: {adaptive: true}}"
FALLBACK = "trafficManagement: {circuitBreaker: {adaptive: true, fallback: {version: v1}}}"
RUNS = {
    "static settings, a tenth of the places": ("allowPin: true", False),
    "adaptive, a tenth of the places": (ADAPTIVE, False),
    "static settings, ten times as slow": ("allowPin: true", True),
    "adaptive with a fallback, ten times as slow": (FALLBACK, True),
}
"""By name: what the policy says, and whether the server takes ten times as long for everything instead."""


class Answer(msgspec.Struct):
    """One request, as its client saw it. Times are seconds."""

    at: float
    """When it was due, since the load began."""
    status: int
    first_token: float | None
    version: str = ""


class Run(msgspec.Struct):
    """All of one run."""

    name: str
    answers: list[Answer]
    limits: list[tuple[float, float]]
    """Limit of v2 over time."""


class Server:
    """A model server with so many places; who finds none waits in line."""

    def __init__(self, seed: int) -> None:
        self.places, self.slowness = PLACES, 1.0
        self._busy = 0
        self._line: deque[asyncio.Future[None]] = deque()
        self._random = Random(seed)

    def set(self, places: int, slowness: float) -> None:
        """From now on."""
        self.places, self.slowness = places, slowness
        self._admit()

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """A stream of tokens."""
        await request.read()
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._line.append(turn)
        self._admit()
        await turn
        try:
            await asyncio.sleep(self.slowness * FIRST_TOKEN * self._random.lognormvariate(0, 0.2))
            response = web.StreamResponse(headers={"content-type": "text/event-stream"})
            with suppress(ConnectionError):  # the run is over
                await response.prepare(request)
                for number in range(TOKENS):
                    if number:
                        await asyncio.sleep(self.slowness * GAP)
                    await response.write(b'data: {"choices":[{"index":0,"delta":{"content":"token "}}]}\n\n')
                await response.write(b"data: [DONE]\n\n")
            return response
        finally:
            self._busy -= 1
            self._admit()

    def _admit(self) -> None:
        while self._line and self._busy < self.places:
            turn = self._line.popleft()
            if not turn.done():
                turn.set_result(None)
                self._busy += 1


async def ask(session: aiohttp.ClientSession, url: str, due: float, began: float, answers: list[Answer]) -> None:
    """One request, which is noted however it ends."""
    body = {"model": "m", "stream": True, "messages": []}
    found = Answer(due - began, 0, None)
    answers.append(found)
    with suppress(aiohttp.ClientError, TimeoutError):
        async with session.post(url, json=body) as response:
            found.status, found.version = response.status, response.headers.get("x-model-version", "")
            async for _ in response.content.iter_any():
                if found.first_token is None and response.status == 200:
                    found.first_token = perf_counter() - due


def limit(admin: str) -> float | None:
    """Of v2, as the processor tells."""
    with urllib.request.urlopen(f"http://{admin}/metrics", timeout=5) as response:
        lines = response.read().decode().splitlines()
    name = 'inference_concurrency_limit{gpu_pool="none",policy="chat",version="v2"} '
    return next((float(line.removeprefix(name)) for line in lines if line.startswith(name)), None)


async def measure(name: str, scale: float) -> Run:
    """One run. ``scale``: of the length of the phases."""
    traffic, slower = RUNS[name]
    run = Run(name, [], [])
    async with AsyncExitStack() as stack:
        servers = Server(1), Server(2)
        first, second = [await serve(stack, server.answer) for server in servers]
        listen, admin = await gateway(stack, POLICY.format(first=first, second=second, traffic=traffic))
        session = await client(stack)
        await load(run, session, f"http://{listen}/v1/chat/completions", admin, servers[0], slower, scale)
    return run


async def load(
    run: Run, session: aiohttp.ClientSession, url: str, admin: str, server: Server, slower: bool, scale: float
) -> None:
    """All phases; requests that are open at the end are left."""
    began, due, looked = perf_counter(), perf_counter(), 0.0
    random, tasks = Random(3), set[asyncio.Task[None]]()
    weak, strong, end = (scale * at for at in (NORMAL, NORMAL + WEAK, NORMAL + WEAK + AFTER))
    while (now := due - began) < end:
        await asyncio.sleep(max(0.0, due - perf_counter()))
        is_weak = weak <= now < strong
        if slower:
            server.set(PLACES, 10.0 if is_weak else 1.0)
        else:
            server.set(LEFT if is_weak else PLACES, 1.0)
        task = asyncio.create_task(ask(session, url, due, began, run.answers))
        tasks.add(task)
        task.add_done_callback(tasks.discard)
        if now >= looked + 1:
            looked = now
            if (most := await asyncio.to_thread(limit, admin)) is not None:
                run.limits.append((now, most))
        due += random.expovariate(RATE)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def p95(answers: Sequence[Answer]) -> float:
    """Of the times to first token of what was accepted; who waits still counts as for ever."""
    times = sorted(float("inf") if a.first_token is None else a.first_token for a in answers if a.status in (0, 200))
    return times[int(0.95 * len(times))] if times else float("nan")


def summary(run: Run, scale: float = 1.0) -> dict[str, Any]:
    """The figures of a run: seconds, and answers a second."""
    weak, strong, end = scale * NORMAL, scale * (NORMAL + WEAK), scale * (NORMAL + WEAK + AFTER)
    warm = scale * NORMAL / 3  # connections are opened, and what is usual is learned
    normal = [a for a in run.answers if warm <= a.at < weak]
    during = [a for a in run.answers if weak <= a.at < strong]
    bound = MARGIN * p95(normal)

    def good(answers: Sequence[Answer]) -> int:
        return sum(a.first_token is not None and a.first_token <= bound for a in answers)

    def recovered() -> float | None:
        at = strong
        while at + RECOVERY <= end:
            window = [a for a in run.answers if at <= a.at < at + RECOVERY]
            if window and good(window) >= 0.95 * len(window):
                return at - strong
            at += 1.0
        return None

    return {
        "run": run.name,
        "normal": p95(normal),
        "during": p95(during),
        "ratio": p95(during) / p95(normal),
        "settled": p95([a for a in during if a.at >= weak + SETTLING]) / p95(normal),
        "accepted": sum(a.status in (0, 200) for a in during) / (strong - weak),
        "goodput": good(during) / (strong - weak),
        "refused": sum(a.status in (429, 503) for a in during) / max(1, len(during)),
        "recovered": recovered(),
    }


def table(found: Sequence[dict[str, Any]]) -> str:
    """The summaries in Markdown."""
    lines = [
        "| run | p95 TTFT before | while weak | ratio | after 5 s | accepted | within the objective | refused | back |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for one in found:
        during = f"{one['during']:.2f} s" if one["during"] < 1e6 else "never"
        ratio = f"{one['ratio']:.2f} | {one['settled']:.2f}" if one["during"] < 1e6 else "- | -"
        back = "not at all" if one["recovered"] is None else f"{one['recovered']:.0f} s"
        lines.append(
            f"| {one['run']} | {one['normal']:.2f} s | {during} | {ratio} | {one['accepted']:.1f}/s "
            f"| {one['goodput']:.1f}/s | {100 * one['refused']:.0f} % | {back} |"
        )
    return "\n".join(lines)


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.breaking")
    parser.add_argument("--scale", type=float, default=1.0, help="of the length of the phases (default: %(default)g)")
    parser.add_argument("--out", type=Path, help="folder for breaking.json, and breaking.svg where matplotlib is")
    parser.add_argument("--only", choices=RUNS, help="one run")
    options = parser.parse_args()
    if options.out:
        options.out.mkdir(parents=True, exist_ok=True)
    runs = [asyncio.run(measure(name, options.scale)) for name in RUNS if options.only in (None, name)]
    found = [summary(run, options.scale) for run in runs]
    print(table(found))
    if options.out:
        finite = [{key: None if value == float("inf") else value for key, value in one.items()} for one in found]
        (options.out / "breaking.json").write_text(json.dumps(finite, indent=2) + "\n")
        if find_spec("matplotlib") is not None:
            from benchmarks.breaking_chart import draw

            draw(runs, options.scale, options.out / "breaking.svg")


if __name__ == "__main__":
    main()

"""Rollouts in real time: many policies at once through one Envoy and processor (`extproc up`), to model servers that
answer as `benchmarks.rollouts` draws it. `python -m benchmarks.live_rollouts` prints a table of docs/rollouts.md, each
row beside what is simulated with the same steps.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from collections import Counter
from collections.abc import Sequence
from contextlib import AsyncExitStack, suppress
from random import Random
from time import perf_counter
from typing import Any

import aiohttp
import msgspec
from aiohttp import web

from benchmarks.local_gateway import client, gateway, serve
from benchmarks.rollouts import BEHAVIOURS, HEAD, PLAN, Behaviour, Outcome, row, simulate
from extproc.policy.rollout_plan import COMPLETED, FAILED, FIRST_TOKEN, Guard

KINDS = ("equal", "errors 5 %", "breaks mid-stream 5 %", "TTFT + 50 %", "empty answers")
LIVE_PLAN = msgspec.structs.replace(
    PLAN,
    steps=(50, 100),
    interval=1,
    guards=(
        PLAN.guards[0],
        Guard(metric=FIRST_TOKEN, quantile=0.5, relative_to="v1", max_ratio=1.2),
        *PLAN.guards[2:],
    ),
)
"""Larger steps than usual, so that fewer requests are needed; and first tokens against those of v1: absolute times
would be those of the machine that all of it shares.
"""
GAP = 0.1
"""Of the time between two tokens, so that not too many answers are open at a time."""
SIMULATED = 40
"""Rollouts of each row that are simulated."""
PATIENCE = 1500.0
"""Seconds after which a rollout is left as it is."""
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
    steps: {steps}
    interval: {interval}s
    minRequests: {requests}
    guards:
    - {{metric: errors, max: 1%}}
    - {{metric: timeToFirstToken, quantile: 50, relativeTo: v1, maxRatio: 1.2}}
    - {{metric: timePerOutputToken, quantile: 50, relativeTo: v1, maxRatio: 1.2}}
    - {{metric: outputTokens, quantile: 50, relativeTo: v1, minRatio: 0.5}}
---
"""


class Server:
    """A model server that answers by a behaviour."""

    def __init__(self, behaviour: Behaviour, seed: int) -> None:
        self._behaviour, self._random = behaviour, Random(seed)

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """A stream of two pieces, the second of which tells how many tokens there were."""
        await request.read()
        behaviour, random = self._behaviour, self._random
        if random.random() < behaviour.errors:
            return web.json_response({}, status=500)
        breaks, empty = random.random() < behaviour.breaks, random.random() < behaviour.empty
        first = behaviour.first_token * random.lognormvariate(0, 0.36)
        pace = GAP * behaviour.per_token * random.lognormvariate(0, 0.25)
        tokens = 0 if empty else 1 + int(behaviour.tokens * random.lognormvariate(0, 1.0))
        response = web.StreamResponse(headers={"content-type": "text/event-stream"})
        await response.prepare(request)
        await asyncio.sleep(first)
        with suppress(ConnectionError):  # the run is over
            if not empty:
                await response.write(_event({"choices": [{"index": 0, "delta": {"content": "a"}}]}))
            await asyncio.sleep(pace * tokens)
            if breaks and request.transport is not None:
                request.transport.abort()
                return response
            last = [] if empty else [{"index": 0, "delta": {"content": "z"}}]
            await response.write(_event({"choices": last}))
            await response.write(_event({"choices": [], "usage": {"prompt_tokens": 9, "completion_tokens": tokens}}))
            await response.write(b"data: [DONE]\n\n")
        return response


def _event(document: dict[str, Any]) -> bytes:
    return b"data: " + json.dumps(document).encode() + b"\n\n"


class Batch:
    """So many rollouts of each kind at once."""

    def __init__(self, kinds: Sequence[str], each: int, seed: int, rate: float) -> None:
        """``rate``: requests a second to each."""
        self._kinds = {f"r{number}-{kind}": name for kind, name in enumerate(kinds) for number in range(each)}
        self._open, self._rate, self._seed = set(self._kinds), rate, seed
        self._asked: Counter[tuple[str, str]] = Counter()
        self._outcomes: dict[str, list[Outcome]] = {name: [] for name in kinds}

    async def run(self) -> dict[str, list[Outcome]]:
        """What became of them, by kind."""
        async with AsyncExitStack() as stack:
            behaviours = {"old": Behaviour(), **{name: BEHAVIOURS[name] for name in self._outcomes}}
            servers = [Server(behaviour, self._seed + n) for n, behaviour in enumerate(behaviours.values())]
            found = dict(zip(behaviours, [await serve(stack, server.answer) for server in servers], strict=True))
            plan = {"steps": list(LIVE_PLAN.steps), "interval": LIVE_PLAN.interval, "requests": LIVE_PLAN.min_requests}
            texts = [POLICY.format(name=n, old=found["old"], new=found[k], **plan) for n, k in self._kinds.items()]
            listen, admin = await gateway(stack, "".join(texts))
            session = await client(stack)
            async with asyncio.TaskGroup() as group:
                group.create_task(self._load(session, f"http://{listen}/v1/chat/completions"))
                group.create_task(self._watch(session, f"http://{admin}/rollouts"))
        return self._outcomes

    async def _load(self, session: aiohttp.ClientSession, url: str) -> None:
        """Requests of one user each, to each rollout until it has ended."""
        random, due, number, names = Random(self._seed), perf_counter(), 0, list(self._kinds)
        async with asyncio.TaskGroup() as group:
            while self._open:
                await asyncio.sleep(max(0.0, due - perf_counter()))
                if (name := names[number % len(names)]) in self._open:
                    group.create_task(self._ask(session, url, name, number))
                number += 1
                due += random.expovariate(self._rate * len(names))

    async def _ask(self, session: aiohttp.ClientSession, url: str, model: str, user: int) -> None:
        body = {"model": model, "stream": True, "messages": []}
        with suppress(aiohttp.ClientError, RuntimeError):  # broken off; the session is closed, and the run over
            async with session.post(url, json=body, headers={"x-user-id": str(user)}) as response:
                self._asked[model, response.headers.get("x-model-version", "")] += 1
                await response.read()

    async def _watch(self, session: aiohttp.ClientSession, url: str) -> None:
        """Until all have ended."""
        began = perf_counter()
        while self._open:
            await asyncio.sleep(0.5)
            async with session.get(url) as response:
                told = {one["policy"]: one for one in await response.json()}
            seconds = perf_counter() - began
            for name in list(self._open):
                phase = told[name]["phase"]
                highest = max((move["percent"] for move in told[name]["moves"]), default=0)
                if phase not in (COMPLETED, FAILED) and seconds < PATIENCE:
                    continue
                self._open.remove(name)
                v2 = self._asked[name, "v2"]
                share = v2 / max(1, v2 + self._asked[name, "v1"])
                self._outcomes[self._kinds[name]].append(Outcome(phase, highest, seconds, share))


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.live_rollouts", description=__doc__)
    parser.add_argument("--batches", type=int, default=1, help="one after the other (%(default)s)")
    parser.add_argument("--each", type=int, default=8, help="rollouts of each kind at once (%(default)s)")
    parser.add_argument("--rate", type=float, default=2.0, help="requests a second to each (%(default)s)")
    options = parser.parse_args()
    found: dict[str, list[Outcome]] = {name: [] for name in KINDS}
    for number in range(options.batches):
        batch = asyncio.run(Batch(KINDS, options.each, 1000 * number, options.rate).run())
        for name, outcomes in batch.items():
            found[name] += outcomes
            ended = ", ".join(f"{one.phase} at {one.percent} % after {one.seconds:.0f} s" for one in outcomes)
            print(f"batch {number + 1}, {name}: {ended}", file=sys.stderr, flush=True)
    print(HEAD)
    for name, outcomes in found.items():
        print(row(f"{name}, {len(outcomes)} real", outcomes, LIVE_PLAN))
        drawn = [simulate(BEHAVIOURS[name], seed, options.rate, LIVE_PLAN, keys=True) for seed in range(SIMULATED)]
        print(row(f"{name}, {SIMULATED} simulated", drawn, LIVE_PLAN), flush=True)


if __name__ == "__main__":
    main()

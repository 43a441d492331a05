"""``extproc demo``: model servers, a gateway, traffic, a verified table; nothing is left behind.

Progress goes to stderr, the result to stdout.
"""

from __future__ import annotations

import asyncio
import re
import secrets
import signal
import sys
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import msgspec
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from extproc.demo.evidence import Counters, Evidence, arms
from extproc.demo.gateway_process import Gateway
from extproc.demo.models import ModelServer, OipServer, OpenAIServer, Pace
from extproc.demo.report import Report, show, summarize
from extproc.demo.traffic import CHAT_MODEL, TENSOR_MODEL, Answer, Ask, drive, plan
from extproc.demo.verify import settled, verify
from extproc.policyfile import loader

POLICY = Path(__file__).with_name("policy.yaml")
_WRITTEN = ("127.0.0.1:9001", "127.0.0.1:9002", "127.0.0.1:9003")
"""The endpoints in that file: of the chat model's v1 and v2, of the classifier."""
_COUNTED_WITHIN = 5.0
"""Seconds after the last answer: who observes is not on the requests' path and may lag behind."""


def run(as_json: bool = False, requests: int = 400, seed: int | None = None) -> int:
    """The exit status: 0 only if every check holds, 128 and the signal's number after one.

    Raises ``SetupError`` where the gateway does not start or dies.
    """
    return asyncio.run(_until_signal(as_json, requests, secrets.randbits(31) if seed is None else seed))


async def _until_signal(as_json: bool, requests: int, seed: int) -> int:
    console = Console(stderr=True, highlight=False)
    loop, task = asyncio.get_running_loop(), asyncio.current_task()
    received: list[int] = []

    def stop(number: int) -> None:
        # Only the first counts: the way out takes a bounded time, and cut short it would leave something behind.
        if not received and task is not None:
            received.append(number)
            task.cancel()

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, stop, number)
    try:
        report = await _demo(console, requests, seed)
    except asyncio.CancelledError:
        if not received:
            raise
        _say(console, "Stopped; nothing is left running.")
        return 128 + received[0]
    if as_json:
        sys.stdout.write(msgspec.json.format(msgspec.json.encode(report), indent=2).decode() + "\n")
    else:
        show(report, Console())
    return 0 if report.ok else 1


async def _demo(console: Console, requests: int, seed: int) -> Report:
    async with _model_servers(seed) as servers:
        endpoints = [server.endpoint for server in servers]
        v1, v2, iris = endpoints
        _say(console, f"Model servers: {CHAT_MODEL} v1 on {v1}, v2 on {v2}; {TENSOR_MODEL} on {iris}")
        with TemporaryDirectory(prefix="extproc-demo-") as directory:
            policy = Path(directory, "policy.yaml")
            policy.write_text(policy_for(endpoints))
            places = arms(loader.load([policy]).snapshot)
            _say(console, f"Gateway: extproc up -f {POLICY.name}, with the ports of these servers")
            async with Gateway.running(policy) as gateway:
                asks = plan(requests, seed)
                _say(console, f"Traffic: {len(asks)} requests to {gateway.url} (seed {seed})")
                started = time.monotonic()
                answers = await _drive(console, gateway.url, asks)
                seconds = time.monotonic() - started
                received = [one for server in servers for one in server.received]
                spent = [one for server in servers for one in server.spent]
                evidence = await _counted(gateway, Evidence(places, answers, received, Counters(), spent))
    return summarize(evidence, verify(evidence), seed, seconds)


@asynccontextmanager
async def _model_servers(seed: int) -> AsyncIterator[Sequence[ModelServer]]:
    """In the order of their endpoints in the policy file."""
    servers = (
        OpenAIServer([CHAT_MODEL], Pace(first_token=0.060, per_token=0.006), seed),
        OpenAIServer([f"{CHAT_MODEL}-instruct"], Pace(first_token=0.035, per_token=0.004), seed + 1),
        OipServer([TENSOR_MODEL], Pace(first_token=0.008), seed + 2),
    )
    async with AsyncExitStack() as stack:
        for server in servers:
            await stack.enter_async_context(server.running())
        yield servers


def policy_for(endpoints: Sequence[str]) -> str:
    """The demo's policy with ``endpoints`` in the place of those that stand in the file."""
    real = dict(zip(_WRITTEN, endpoints, strict=True))
    return re.sub("|".join(map(re.escape, real)), lambda found: real[found[0]], POLICY.read_text())


def _say(console: Console, text: str) -> None:
    console.print(text, soft_wrap=True, markup=False)


async def _drive(console: Console, url: str, asks: Sequence[Ask]) -> list[Answer]:
    columns = (TextColumn("  requests"), BarColumn(40), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console) as progress:
        bar = progress.add_task("", total=len(asks))
        return await drive(url, asks, done=lambda: progress.advance(bar))


async def _counted(gateway: Gateway, evidence: Evidence) -> Evidence:
    """With the counters of Envoy and the processor, once they have settled or the patience for that is over."""
    deadline = time.monotonic() + _COUNTED_WITHIN
    while True:
        evidence = msgspec.structs.replace(evidence, counters=await gateway.counters(evidence.arms))
        if settled(evidence) or time.monotonic() > deadline:
            return evidence
        await asyncio.sleep(0.1)

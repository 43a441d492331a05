"""``extproc demo``: model servers, a gateway, traffic, a verified table; nothing is left behind.

Progress goes to stderr, the result to stdout.
"""

from __future__ import annotations

import asyncio
import os
import re
import secrets
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from pathlib import Path

import msgspec
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from extproc.demo.checks import settled, verify
from extproc.demo.evidence import Counters, Evidence, policy_targets
from extproc.demo.gateway_process import Gateway
from extproc.demo.model_servers import ModelServer, OipServer, OpenAIServer, Pace
from extproc.demo.report import print_json, show, summarize
from extproc.demo.traffic import CHAT_MODEL, TENSOR_MODEL, Answer, Request, drive, plan
from extproc.demo.until_signal import Shown, program, run_until_signal, say
from extproc.policyfile import loader
from extproc.serve.run_directory import run_directory

POLICY = Path(__file__).with_name("policy.yaml")
_ENDPOINTS_IN_FILE = ("127.0.0.1:9001", "127.0.0.1:9002", "127.0.0.1:9003")
"""The endpoints in that file, in order: the chat model's v1 and v2, the classifier."""
_SETTLE_TIMEOUT = 5.0
"""Seconds after the last answer within which counters must be complete: observers may lag behind."""
_NOW_TRY = """
Now try:
  {program} demo --keep             the same, left running, with its page
  {program} demo-model --port 9001  a model server of your own; and a gateway in front of it, in another terminal:
  {program} up -f {policy}"""
_KEPT = """
It runs on until Ctrl-C:
  page      {gateway.admin}/
  gateway   {gateway.url}
  watch     {program} stat --watch --from {gateway.admin}"""


def run(as_json: bool = False, requests: int = 400, seed: int | None = None, keep: bool = False) -> int:
    """``keep``: runs on after the table, until a signal.

    Returns 0 only if every check holds, and 128 plus the signal's number after a signal.

    Raises ``SetupError`` where the gateway does not start or dies.
    """
    console = Console(stderr=True, highlight=False)
    now_try = "" if as_json else _NOW_TRY.format(program=program(), policy=os.path.relpath(POLICY))
    demo = _demo(console, requests, secrets.randbits(31) if seed is None else seed, as_json)
    return asyncio.run(run_until_signal(demo, console, keep=keep, afterwards=now_try))


@asynccontextmanager
async def _demo(console: Console, requests: int, seed: int, as_json: bool) -> AsyncIterator[Shown]:
    """The result, while gateway and model servers still run."""
    async with _model_servers(seed) as servers:
        endpoints = [server.endpoint for server in servers]
        v1, v2, iris = endpoints
        say(console, f"Model servers: {CHAT_MODEL} v1 on {v1}, v2 on {v2}; {TENSOR_MODEL} on {iris}")
        with run_directory() as directory:
            policy = directory / "policy.yaml"
            policy.write_text(policy_for(endpoints))
            targets = policy_targets(loader.load([policy]).snapshot)
            say(console, f"Gateway: extproc up -f {POLICY.name}, with the ports of these servers")
            async with Gateway.running(policy) as gateway:
                planned = plan(requests, seed)
                say(console, f"Traffic: {len(planned)} requests to {gateway.url} (seed {seed})")
                started = time.monotonic()
                answers = await _drive(console, gateway.url, planned)
                seconds = time.monotonic() - started
                received = [one for server in servers for one in server.received]
                usages = [one for server in servers for one in server.usages]
                evidence = await _with_counters(gateway, Evidence(targets, answers, received, Counters(), usages))
                report = summarize(evidence, verify(evidence), seed, seconds)
                printed = partial(print_json, report) if as_json else partial(show, report, Console())
                yield Shown(report.ok, printed, lambda: _KEPT.format(program=program(), gateway=gateway))


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
    real = dict(zip(_ENDPOINTS_IN_FILE, endpoints, strict=True))
    return re.sub("|".join(map(re.escape, real)), lambda found: real[found[0]], POLICY.read_text())


async def _drive(console: Console, url: str, planned: Sequence[Request]) -> list[Answer]:
    columns = (TextColumn("  requests"), BarColumn(40), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console) as progress:
        bar = progress.add_task("", total=len(planned))
        return await drive(url, planned, done=lambda: progress.advance(bar))


async def _with_counters(gateway: Gateway, evidence: Evidence) -> Evidence:
    """With the counters of Envoy and the processor, once they are complete, or after ``_SETTLE_TIMEOUT``."""
    deadline = time.monotonic() + _SETTLE_TIMEOUT
    while True:
        evidence = msgspec.structs.replace(evidence, counters=await gateway.counters(evidence.targets))
        if settled(evidence) or time.monotonic() > deadline:
            return evidence
        await asyncio.sleep(0.1)

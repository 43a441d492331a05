"""``extproc bench``: how long requests take through an Envoy or a mesh, and how much of it is routing.

Open loop: requests leave at a fixed rate, whether earlier ones are back or not, and their time counts from when they
should have left; a stall is seen by every request that it delays (no coordinated omission). Closed loop: each of some
connections asks again as soon as it has its answer. Two addresses are measured in turns, so that a slow moment of the
machine hits both.
"""

from __future__ import annotations

import asyncio
import json
import re
import sys
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from statistics import quantiles
from typing import Any

import aiohttp
import msgspec
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from extproc.errors import SetupError

_ROUTE = re.compile(r"\broute;dur=([0-9.]+)")
_PERCENTILES = (50, 90, 99)


class Plan(msgspec.Struct, frozen=True):
    """What to send, how fast and for how long."""

    urls: tuple[str, ...]
    """One, or two to compare: the second is the baseline."""
    path: str
    body: bytes
    headers: tuple[tuple[str, str], ...] = ()
    rate: float = 0.0
    """Requests per second; 0: closed loop."""
    connections: int = 16
    seconds: float = 10.0
    """Per address, in turns of at most 2 s."""


class Sample(msgspec.Struct, gc=False):
    """One request. Times in seconds."""

    outcome: str
    """The status, or the kind of failure."""
    first: float
    """Until the first byte of the answer's body."""
    total: float
    route: float | None
    """What ``server-timing`` says of routing."""


def run(plan: Plan, as_json: bool) -> int:
    """Measures and prints. 0 where every request was answered with a status below 400."""
    try:
        found = asyncio.run(_measure(plan, as_json))
    except aiohttp.ClientConnectorError as error:
        raise SetupError(f"cannot reach {error.host}:{error.port}: {error.os_error.strerror}; is it running?") from None
    report = {url: summary(samples, plan.seconds) for url, samples in found.items()}
    if as_json:
        json.dump(report, sys.stdout, indent=2)
        sys.stdout.write("\n")
    else:
        Console().print(_table(report))
    return 0 if all(s.outcome.isdecimal() and int(s.outcome) < 400 for ss in found.values() for s in ss) else 1


async def _measure(plan: Plan, quiet: bool) -> dict[str, list[Sample]]:
    found: dict[str, list[Sample]] = {url: [] for url in plan.urls}
    turns = max(1, round(plan.seconds / 2))
    connector = aiohttp.TCPConnector(limit=0 if plan.rate else plan.connections)
    timeout = aiohttp.ClientTimeout(total=300)
    console = Console(stderr=True, quiet=quiet)
    async with aiohttp.ClientSession(connector=connector, timeout=timeout) as session:
        for url in plan.urls:  # connections are made, and an address that does not answer is told at once
            await _ask(session, plan, url, time.perf_counter(), strict=True)
        with Progress(console=console, transient=True) as progress:
            task = progress.add_task("measuring", total=turns * len(plan.urls))
            for _ in range(turns):
                for url in plan.urls:
                    found[url] += await _turn(session, plan, url, plan.seconds / turns)
                    progress.advance(task)
    return found


async def _turn(session: aiohttp.ClientSession, plan: Plan, url: str, seconds: float) -> list[Sample]:
    async def ask(due: float) -> Sample:
        return await _ask(session, plan, url, due)

    return await (open_loop(ask, plan.rate, seconds) if plan.rate else closed_loop(ask, plan.connections, seconds))


async def open_loop(ask: Callable[[float], Awaitable[Sample]], rate: float, seconds: float) -> list[Sample]:
    """Requests at a fixed rate; each is given the moment at which it was due."""
    begin = time.perf_counter()
    tasks = []
    for n in range(max(1, int(rate * seconds))):
        due = begin + n / rate
        if (early := due - time.perf_counter()) > 0:
            await asyncio.sleep(early)
        tasks.append(asyncio.ensure_future(ask(due)))
    return list(await asyncio.gather(*tasks))


async def closed_loop(ask: Callable[[float], Awaitable[Sample]], connections: int, seconds: float) -> list[Sample]:
    """Requests one after the other on each connection."""
    ends = time.perf_counter() + seconds
    found: list[Sample] = []

    async def client() -> None:
        while (now := time.perf_counter()) < ends:
            found.append(await ask(now))

    await asyncio.gather(*(client() for _ in range(connections)))
    return found


async def _ask(session: aiohttp.ClientSession, plan: Plan, url: str, due: float, *, strict: bool = False) -> Sample:
    headers = {"content-type": "application/json", **dict(plan.headers)}
    try:
        async with session.post(url.rstrip("/") + plan.path, data=plan.body, headers=headers) as response:
            await response.content.readany()
            first = time.perf_counter() - due
            await response.read()
            timing = _ROUTE.search(response.headers.get("server-timing", ""))
            route = float(timing[1]) / 1000 if timing else None
            return Sample(str(response.status), first, time.perf_counter() - due, route)
    except (aiohttp.ClientError, TimeoutError) as error:
        if strict and isinstance(error, aiohttp.ClientConnectorError):
            raise
        return Sample(type(error).__name__, 0.0, time.perf_counter() - due, None)


def summary(samples: Sequence[Sample], seconds: float) -> dict[str, Any]:
    """Percentiles in milliseconds, of what was answered; rates and outcomes of all."""
    answered = [s for s in samples if s.outcome.isdecimal() and int(s.outcome) < 400]
    routes = [s.route for s in answered if s.route is not None]
    return {
        "requests": len(samples),
        "outcomes": dict(Counter(s.outcome for s in samples)),
        "per_second": round(len(samples) / seconds, 1),
        "first_byte_ms": _percentiles([s.first for s in answered]),
        "total_ms": _percentiles([s.total for s in answered]),
        "route_ms": _percentiles(routes),
    }


def _percentiles(seconds: Sequence[float]) -> dict[str, float] | None:
    if not seconds:
        return None
    cuts = quantiles(seconds, n=100, method="inclusive") if len(seconds) > 1 else [seconds[0]] * 99
    found = {f"p{p}": round(1000 * cuts[p - 1], 3) for p in _PERCENTILES}
    return {**found, "max": round(1000 * max(seconds), 3)}


def _table(report: Mapping[str, Mapping[str, Any]]) -> Table:
    table = Table("address", "of", box=None)
    for heading in ("p50 ms", "p90 ms", "p99 ms", "max ms", "requests", "per s"):
        table.add_column(heading, justify="right", no_wrap=True)
    for url, found in report.items():
        shown = url
        for key, name in (("first_byte_ms", "first byte"), ("total_ms", "whole answer"), ("route_ms", "routing")):
            times = found[key]
            if times is None:
                continue
            numbers = [f"{times[k]:.2f}" for k in ("p50", "p90", "p99", "max")]
            table.add_row(shown, name, *numbers, str(found["requests"]), str(found["per_second"]))
            shown = ""
        failures = {k: n for k, n in found["outcomes"].items() if not k.isdecimal() or int(k) >= 400}
        if failures:
            table.add_row(
                shown, "[red]failed[/red]", *[""] * 4, ", ".join(f"{n} x {k}" for k, n in failures.items()), ""
            )
    return table

"""HTTP load, open or closed loop, with the time that each request took.

Open loop: requests are sent at a fixed rate, whether earlier ones are answered or not, and each one's time counts from
when it was due, so that a stall is measured by every request that it delays (no coordinated omission). Closed loop:
each of some connections sends its next request once it has its answer. Two addresses are measured in turns, so that a
slow moment of the machine affects both.
"""

from __future__ import annotations

import asyncio
import os
import re
import time
from collections.abc import Awaitable, Callable

import aiohttp
import msgspec
from rich.console import Console
from rich.progress import Progress

from extproc.errors import SetupError

_ROUTE = re.compile(r"\broute;dur=([0-9.]+)")
"""In ``server-timing``, milliseconds."""
_MAX_TURN_SECONDS = 2
_REQUEST_TIMEOUT = 300
"""Seconds."""
PROBES = 5
"""Requests before the measurement, in turn, until one is answered with a status below 400."""


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
    """Of the closed loop."""
    seconds: float = 10.0
    """For each URL."""


class Sample(msgspec.Struct, gc=False):
    """One request. Times in seconds."""

    outcome: str
    """The HTTP status, or the exception's name."""
    first: float
    """Until the first byte of the answer's body."""
    total: float
    route: float | None
    """Time for routing according to the header ``server-timing``."""

    @property
    def ok(self) -> bool:
        """Answered with a status below 400."""
        return self.outcome.isdecimal() and int(self.outcome) < 400


def generate(plan: Plan, console: Console) -> dict[str, list[Sample]]:
    """Sends the load; returns the samples of each URL. Progress goes to ``console``.

    Raises ``SetupError`` where a URL can't be reached at the start, or fails the first requests: ``PROBES``.
    """
    try:
        return asyncio.run(_generate(plan, console))
    except aiohttp.ClientConnectorError as error:
        cause = error.os_error  # of a refused connection asyncio tells the call, and not what came of it
        why = os.strerror(cause.errno) if isinstance(cause, ConnectionError) and cause.errno else cause.strerror
        raise SetupError(f"cannot reach {error.host}:{error.port}: {why}; is it running?") from None


async def _generate(plan: Plan, console: Console) -> dict[str, list[Sample]]:
    samples: dict[str, list[Sample]] = {url: [] for url in plan.urls}
    turns = max(1, round(plan.seconds / _MAX_TURN_SECONDS))
    connector = aiohttp.TCPConnector(limit=0 if plan.rate else plan.connections)
    timeout = aiohttp.ClientTimeout(total=_REQUEST_TIMEOUT)
    async with aiohttp.ClientSession(connector=connector, timeout=timeout) as session:
        for url in plan.urls:  # opens connections, and fails at once where nothing is to be measured
            await _probe(session, plan, url)
        with Progress(console=console, transient=True, disable=not console.is_terminal) as progress:
            task = progress.add_task("measuring", total=turns * len(plan.urls))
            for _ in range(turns):
                for url in plan.urls:
                    samples[url] += await _turn(session, plan, url, plan.seconds / turns)
                    progress.advance(task)
    return samples


async def _probe(session: aiohttp.ClientSession, plan: Plan, url: str) -> None:
    """Raises ``SetupError`` where every probe fails, and ``ClientConnectorError`` where nothing listens."""
    outcomes = []
    for _ in range(PROBES):
        sample = await _send(session, plan, url, time.perf_counter(), strict=True)
        if sample.ok:
            return
        outcomes.append(sample.outcome)
    got = ", ".join(dict.fromkeys(outcomes))
    asked_wrongly = any(one.startswith("4") and one != "429" for one in outcomes)
    remedy = "correct --path, --body or -H" if asked_wrongly else "see in its log why, and whether model servers run"
    raise SetupError(f"{url.rstrip('/')}{plan.path} fails every request ({got}); {remedy}")


async def _turn(session: aiohttp.ClientSession, plan: Plan, url: str, seconds: float) -> list[Sample]:
    async def send(due: float) -> Sample:
        return await _send(session, plan, url, due)

    return await (open_loop(send, plan.rate, seconds) if plan.rate else closed_loop(send, plan.connections, seconds))


async def open_loop(send: Callable[[float], Awaitable[Sample]], rate: float, seconds: float) -> list[Sample]:
    """Calls ``send`` at a fixed rate, with the time (``perf_counter``) at which each request was due."""
    begin = time.perf_counter()
    tasks = []
    for n in range(max(1, int(rate * seconds))):
        due = begin + n / rate
        if (early := due - time.perf_counter()) > 0:
            await asyncio.sleep(early)
        tasks.append(asyncio.ensure_future(send(due)))
    return list(await asyncio.gather(*tasks))


async def closed_loop(send: Callable[[float], Awaitable[Sample]], connections: int, seconds: float) -> list[Sample]:
    """Calls ``send`` again and again, ``connections`` at a time."""
    end = time.perf_counter() + seconds
    samples: list[Sample] = []

    async def client() -> None:
        while (now := time.perf_counter()) < end:
            samples.append(await send(now))

    await asyncio.gather(*(client() for _ in range(connections)))
    return samples


async def _send(session: aiohttp.ClientSession, plan: Plan, url: str, due: float, *, strict: bool = False) -> Sample:
    """``strict``: a refused connection raises ``ClientConnectorError``."""
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

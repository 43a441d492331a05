"""``python -m tests.page FOLDER``: the page's pictures for the documentation, of the demo's traffic.

A real Chromium takes them. Without a Chromium it says so and leaves the pictures as they are.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

from rich.console import Console

from extproc.demo.pipeline.collector import export_request
from extproc.demo.pipeline.run import pipeline
from extproc.demo.pipeline.stages import LLM
from extproc.demo.pipeline.traffic import drive
from extproc.demo.pipeline.traffic import plan as plan_pipeline
from extproc.demo.traffic import Request, plan
from tests.grpc.served import Served
from tests.page.browser import browser, find
from tests.page.many_models import tell_of_a_round, write_policies
from tests.page.scene import CHAT, NIGHTLY, SEARCH, Scene, scene

_LASTS = 75.0
"""Seconds of traffic: the charts need some."""
_PICTURES = (
    # Name, width and height of the window, dark, a phone's, what it begins with.
    ("page-light", 1280, 1800, False, False, "header"),
    ("page-dark", 1280, 1800, True, False, "header"),
    ("page-phone", 390, 1900, False, True, "header"),
    ("page-phone-more", 390, 1900, True, True, "#charts"),
)

_TRACES = (
    # Name, width of the window, dark, a phone's.
    ("traces-light", 1280, False, False),
    ("traces-dark", 1280, True, False),
    ("traces-phone", 390, False, True),
)
_DRAWN = "document.querySelectorAll('.chart svg').length"


async def main(folder: Path) -> None:
    """Takes them all."""
    with TemporaryDirectory() as directory:
        async with scene(Path(directory)) as stage, asyncio.TaskGroup() as group, browser() as page:
            jobs = [
                group.create_task(_traffic(stage, SEARCH, lambda ask: ask.kind.startswith("chat"), 4, 0.2)),
                group.create_task(_traffic(stage, CHAT, lambda ask: ask.kind == "chat_stream", 2, 0.3)),
                group.create_task(_traffic(stage, NIGHTLY, lambda ask: ask.kind in ("infer", "embeddings"), 1, 0.5)),
            ]
            print(f"Traffic for {_LASTS:g} s, then pictures …", file=sys.stderr)
            await asyncio.sleep(_LASTS)
            for name, width, height, dark, phone, top in _PICTURES:
                await page.open(stage.url, width, dark=dark, phone=phone)
                await page.until("document.querySelectorAll('#requests tbody tr').length === 25")
                await page.size(width, height, phone=phone, scale=2 if phone else 1.4)
                await page.until(f"window.innerHeight === {height} && {_DRAWN} === 4")
                await page.eval(f"window.scrollTo(0, document.querySelector('{top}').offsetTop - 14)")
                (folder / f"{name}.webp").write_bytes(await page.screenshot())
            for job in jobs:
                job.cancel()
    made = [*(name for name, *_ in _PICTURES), *await _many_models(folder), *await _traces(folder)]
    print(f"Made {', '.join(f'{folder}/{name}.webp' for name in made)}", file=sys.stderr)


async def _many_models(folder: Path) -> list[str]:
    """Pictures of twenty models of which three are busy; their names."""
    made = []
    with TemporaryDirectory() as directory, Served(write_policies(Path(directory)), "--drain", "0") as processor:
        address = processor.ready().address
        for _ in range(5):
            await asyncio.to_thread(tell_of_a_round, address)
            await asyncio.sleep(4.0)
        async with browser() as page:
            for name, width, height, phone in (("page-many", 1280, 1500, False), ("page-many-phone", 390, 1700, True)):
                await page.open(f"http://{processor.admin}/", width, phone=phone)
                await page.size(width, height, phone=phone, scale=2 if phone else 1.4)
                await page.until(f"window.innerHeight === {height} && {_DRAWN} === 2")
                (folder / f"{name}.webp").write_bytes(await page.screenshot())
                made.append(name)
    return made


async def _traces(folder: Path) -> list[str]:
    """Pictures of the traces of `extproc demo pipeline`; their names."""
    with TemporaryDirectory() as directory:
        async with pipeline(Path(directory), 1, "key", Console(stderr=True)) as (running, _), browser() as page:
            answers = await drive(f"http://{running.gateway}", plan_pipeline(40, 2), "token")
            running.collector.take(export_request(answer.root() for answer in answers))
            chat = next(answer.ask.trace for answer in reversed(answers) if answer.ask.service == LLM)
            for name, width, dark, phone in _TRACES:
                await page.open(f"http://{running.admin}/", width, dark=dark, phone=phone)
                await page.until(f"document.querySelector('[data-trace=\"{chat}\"]') !== null")
                await page.eval(f"document.querySelector('[data-trace=\"{chat}\"]').click()")
                await page.until(f"document.querySelector('.waterfall')?.dataset.shown === '{chat}'")
                await page.until("document.querySelectorAll('.waterfall .span-row').length === 15")
                height = 28 + await page.eval("document.querySelector('#trace-card').offsetHeight")
                await page.size(width, height, phone=phone, scale=2 if phone else 1.4)
                await page.until(f"window.innerHeight === {height}")
                await page.eval("window.scrollTo(0, document.querySelector('#trace-card').offsetTop - 14)")
                (folder / f"{name}.webp").write_bytes(await page.screenshot())
    return [name for name, *_ in _TRACES]


async def _traffic(stage: Scene, caller: str, wanted: Callable[[Request], bool], at_once: int, pause: float) -> None:
    """Until it is cancelled."""
    seed = sum(caller.encode())
    while True:
        asks = [ask for ask in plan(2000, seed) if wanted(ask)]
        for start in range(0, len(asks), 5 * at_once):
            await stage.ask(caller, asks[start : start + 5 * at_once], at_once)
            await asyncio.sleep(pause)
        seed += 1


if __name__ == "__main__":
    if find() is None:
        print("No pictures: there is no Chromium. On Debian: apt-get install chromium", file=sys.stderr)
    else:
        asyncio.run(main(Path(sys.argv[1])))

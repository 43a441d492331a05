"""The page's traces in a real Chromium: spans that were sent by OTLP, their waterfall and topology; names are text."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from pathlib import Path

import pytest
from msgspec.structs import replace

from extproc.demo.pipeline.collector import export_request
from extproc.demo.pipeline.stages import LLM
from extproc.telemetry.spans import EXPORT, Span
from tests.grpc.running import insecure
from tests.grpc.served import Served, write
from tests.page.browser import Page, browser, find
from tests.page.test_page import FITS
from tests.unit.demo.pipeline.scene import good_run

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(find() is None, reason="there is no Chromium; on Debian: apt-get install chromium"),
]

HOSTILE = "<img src=x onerror=window.hacked=1>"
ROWS = """JSON.stringify([...document.querySelectorAll(".span-row")].map((row) => [
    row.dataset.service, Number(row.dataset.depth), row.querySelector(".took").textContent]))"""
ENTRIES = "[...document.querySelectorAll('.trace-entry')]"
OVERLAP = """[...document.querySelectorAll("#services .node")].some((one, at, all) =>
    all.slice(at + 1).some((other) => {
    const [a, b] = [one.getBoundingClientRect(), other.getBoundingClientRect()];
    return a.left < b.right && b.left < a.right && a.top < b.bottom && b.top < a.bottom; }))"""


def send(address: str, *spans: Span) -> None:
    """As a collector sends them."""
    with insecure(address) as channel:
        channel.unary_unary(EXPORT)(export_request(spans), timeout=10)


def test_spans_that_are_sent_are_drawn(tmp_path: Path) -> None:
    asyncio.run(_drawn(tmp_path))


async def _drawn(directory: Path) -> None:
    write(policy := directory / "policy.yaml", "90")
    evidence = good_run(6)
    with Served(policy, "--drain", "0") as processor:
        async with browser() as page:
            await page.open(f"http://{processor.ready().admin}/")
            await page.until("document.querySelector('#about').textContent.startsWith('ready')")
            assert await page.eval("document.querySelector('#trace-card').hidden"), "nobody has sent any"
            await asyncio.to_thread(send, processor.address, *evidence.spans)
            await page.until(
                f"!document.querySelector('#trace-card').hidden && {ENTRIES}.length === {len(evidence.answers)}"
            )
            names = await page.texts("#services .node .title")
            assert {"client", "gateway", "feature-store", "model-router", "llm", "classifier", "hosted/2024"} <= {
                *names
            }
            chat = next(answer for answer in reversed(evidence.answers) if answer.ask.service == LLM)
            await page.eval(f"document.querySelector('[data-trace=\"{chat.ask.trace}\"]').click()")
            await _waterfall(page, chat.ask.trace, len(evidence.trace_of(chat)))
            assert not await page.eval(OVERLAP)
            await page.size(390, 844, phone=True)
            await page.until(FITS)
            await page.until(f"!({OVERLAP})")
            await _hostile(page, processor, evidence.spans)
            assert page.complaints == []


async def _waterfall(page: Page, trace: str, count: int) -> None:
    """That of the trace which was chosen: every span below its parent, with its time."""
    await page.until(f"document.querySelector('.waterfall').dataset.shown === '{trace}'")
    rows = json.loads(await page.eval(ROWS))
    assert len(rows) == count
    assert rows[:2] == [["client", 0, "100"], ["gateway", 1, "98"]]
    assert [row[1] for row in rows[:4]] == [0, 1, 2, 3]
    assert ["llm", 7, "64"] in rows
    facts = " ".join(await page.texts(".waterfall .legend li"))
    assert "model llama-3-8b" in facts
    assert "pool a100-west" in facts


async def _hostile(page: Page, processor: Served, spans: Sequence[Span]) -> None:
    """A service whose name is markup, which calls itself in a loop; the newest is shown again once it is asked for."""
    start = max(span.start for span in spans) + 10**9
    first = Span("ee" * 16, "01" * 8, "02" * 8, HOSTILE, HOSTILE, "server", start, start + 10**7, {"gen_ai.a": HOSTILE})
    loop = replace(first, id="02" * 8, parent="01" * 8, service=f"b{HOSTILE}")
    root = replace(first, id="03" * 8, parent="", service=f"c{HOSTILE}", kind="client", failed=True)
    called = replace(first, id="04" * 8, parent="03" * 8)
    await page.eval(f"{ENTRIES}[0].focus()")
    focused = await page.eval("document.activeElement.dataset.trace")
    await asyncio.to_thread(send, processor.address, first, loop, root, called)
    await page.until(f"{ENTRIES}[0]?.dataset.trace === '{'ee' * 16}'")
    assert await page.eval("document.activeElement.dataset.trace") == focused, "as it is drawn anew"
    await page.eval(f"{ENTRIES}[0].click()")
    await page.until("document.querySelector('.waterfall').textContent.includes('<img')")
    assert await page.eval("document.querySelectorAll('#trace-card img').length") == 0
    assert await page.eval("window.hacked") is None
    await page.until(FITS)

"""Endpoints on the page, in a real Chromium: loads, shares, one of which nothing is known, and none at all.

``EXTPROC_TEST_COLLECTOR=1`` (`make test-collector`).
"""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from tests.grpc.served import Served
from tests.grpc.test_endpoint_loads import picked, set_load, write
from tests.page.browser import browser, find
from tests.page_server import PageServer, page_of

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(find() is None, reason="there is no Chromium; on Debian: apt-get install chromium"),
    pytest.mark.skipif(not os.environ.get("EXTPROC_TEST_COLLECTOR"), reason="longer: make test-collector"),
]
SHOWN = "#endpoints .target > table"
DRAWN = """import('/page/endpoints.js').then(({endpoints}) => {
  const row = {policy: "p", gpu_pool: "none", waiting: 1, running: 1, cache: 0, gpu: null, in_flight: 0, picks: 0};
  const one = (version, more) => ({...row, version, endpoint: "a:1", adapters: [], age: 0, share: null, ...more});
  const found = endpoints([one("v1", {queued: 3}), one("v1", {queued: 3, waiting: null, running: null}),
    one("v2", {queued: 1, gpu: 0.5}), one("v3", {waiting: null, running: null})]);
  return found.map((box) => box.querySelector("h3 span").textContent + " " + box.querySelectorAll("th").length);
})"""
ROWS = "document.querySelectorAll('#endpoints [data-endpoint]').length"
FITS = "document.documentElement.scrollWidth <= document.documentElement.clientWidth"


def test_the_page_shows_endpoints(tmp_path: Path) -> None:
    asyncio.run(_shows_endpoints(tmp_path))


async def _shows_endpoints(directory: Path) -> None:
    with PageServer(page_of) as server:
        set_load(server, 3)
        gone = [f"127.0.9.{n}:9" for n in range(1, 20)]
        policy = write(directory / "policy.yaml", [server.address, *gone])
        with Served(policy, "--drain", "0").ready() as processor:
            for _ in range(4):
                await asyncio.to_thread(picked, processor.address)
            async with browser() as page:
                await page.open(f"http://{processor.admin}/")
                await page.until(f"{ROWS} === 20")
                assert await page.texts("#endpoints h3 span") == ["20 endpoints, the load of 19 is not known"]
                assert await page.texts("#endpoints details > summary") == ["4 more"]
                names = await page.texts(f"{SHOWN} td.name")
                assert names == sorted(names, key=lambda name: int(name.split(".")[3].partition(":")[0]))[:16]
                assert "GPU" not in await page.texts(f"{SHOWN} th"), "nothing tells of it"
                row = f"[data-endpoint='{server.address}'] [data-label=Waiting]"
                await page.until(f'document.querySelector("{row}").textContent === "3"')
                shares = await page.texts("#endpoints [data-label='Share of picks']")
                assert sum(float(share.removesuffix(" %")) for share in shares) == pytest.approx(100, abs=0.5)
                assert await page.eval(DRAWN) == [
                    "2 endpoints, the load of 1 is not known, 3 requests wait here for one with room 9",
                    "1 endpoint, 1 request waits here for one with room 9",
                    "1 endpoint, its load is not known 9",
                ]
                assert await page.eval(FITS)
                await page.size(390, 844, phone=True)
                await page.until(FITS)
                assert page.complaints == []


def test_without_picks_there_is_no_section(tmp_path: Path) -> None:
    asyncio.run(_no_section(tmp_path))


async def _no_section(directory: Path) -> None:
    policy = directory / "policy.yaml"
    policy.write_text(
        "apiVersion: ai.istio.io/v1alpha1\nkind: ModelInferencePolicy\nmetadata: {name: a}\nspec: {host: a}\n"
    )
    with Served(policy, "--drain", "0").ready() as processor:
        async with browser() as page:
            await page.open(f"http://{processor.admin}/")
            await page.until("document.querySelector('#about').textContent.startsWith('ready')")
            assert await page.eval("document.querySelector('#endpoint-card').hidden")

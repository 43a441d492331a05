"""The page in a real Chromium: its numbers are those of /metrics, names are text, and it fits a phone."""

from __future__ import annotations

import asyncio
import json
import re
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from extproc._pb import access_log_pb2 as pb
from extproc.demo.traffic import plan
from extproc.envoy.access_log import STREAM
from tests.grpc.exchanges import exchange, tell
from tests.grpc.running import insecure
from tests.grpc.served import Served
from tests.page.browser import Page, browser, find
from tests.page.many_models import BUSY, MODELS, tell_of_a_round, write_policies
from tests.page.scene import CHAT, SEARCH, Scene, scene

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(find() is None, reason="there is no Chromium; on Debian: apt-get install chromium"),
]

Place = tuple[str, str, str]
NONE = "–"  # noqa: RUF001
CELLS = """JSON.stringify([...document.querySelectorAll("#models tbody tr")].map((row) => [
    JSON.parse(row.dataset.row),
    Object.fromEntries([...row.querySelectorAll("[data-label]")].map((cell) => [cell.dataset.label, cell.textContent])),
]))"""
FITS = "document.documentElement.scrollWidth <= document.documentElement.clientWidth"
DRAWN = "[...document.querySelectorAll('.chart')].map((c) => c.querySelectorAll('.trace:not(.high)[d]').length)"


class Scrape:
    """What /metrics says, by model, version and pool."""

    def __init__(self, text: str) -> None:
        self.requests: dict[Place, float] = defaultdict(float)
        self.tokens: dict[Place, float] = defaultdict(float)
        self.buckets: dict[tuple[str, Place], dict[float, float]] = defaultdict(lambda: defaultdict(float))
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                labels = sample.labels
                if "model" not in labels:
                    continue
                place = labels["model"], labels["version"], labels["gpu_pool"]
                if sample.name == "inference_requests_total":
                    self.requests[place] += sample.value
                elif sample.name == "inference_tokens_total" and labels["type"] == "output":
                    self.tokens[place] += sample.value
                elif sample.name.endswith("_bucket"):
                    self.buckets[family.name, place][float(labels["le"])] += sample.value

    def milliseconds(self, name: str, place: Place, q: float) -> float | None:
        """A quantile, interpolated as Prometheus does; None of nothing."""
        low = below = 0.0
        buckets = sorted(self.buckets[name, place].items())
        for high, count in buckets:
            if count >= (rank := q * buckets[-1][1]):
                return (low + (high - low) * (rank - below) / (count - below)) * 1000
            low, below = high, count
        return None


async def settled(stage: Scene, count: int) -> Scrape:
    """Once the processor has heard of so many exchanges: it is not in their way, and may lag behind."""
    found = Scrape("")
    while sum(found.requests.values()) < count:
        await asyncio.sleep(0.02)
        found = Scrape(stage.processor.get("/metrics")[1])
    assert sum(found.requests.values()) == count
    return found


async def table(page: Page) -> dict[Place, dict[str, str]]:
    return {tuple(place): cells for place, cells in json.loads(await page.eval(CELLS))}


@pytest.mark.envoy
def test_the_page_shows_true_numbers(tmp_path: Path) -> None:
    asyncio.run(_true_numbers(tmp_path))


async def _true_numbers(directory: Path) -> None:
    async with scene(directory, pace=0.3) as stage, browser() as page:
        await page.open(stage.url)
        await page.until("document.querySelector('#about').textContent.startsWith('ready')")
        await page.until("document.querySelectorAll('#requests .empty').length === 1")
        ours, theirs = plan(90, 1), plan(40, 2)
        answers = await asyncio.gather(stage.ask(SEARCH, ours), stage.ask(CHAT, theirs))
        assert not [one for answer in answers for one in answer if one.status not in (200, 404)]
        scrape = await settled(stage, len(ours) + len(theirs))
        total = f"{len(ours) + len(theirs)} in all"
        await page.until(f"document.querySelector('[data-tile=Requests] .more').textContent === '{total}'")
        shown = await table(page)
        seconds = json.loads(stage.processor.get("/live")[1])["seconds"]
        assert {place for place, cells in shown.items() if cells["Requests"] != "0"} == set(scrape.requests)
        for place, count in scrape.requests.items():
            check(shown[place], scrape, place)
            assert float(shown[place]["RPS"]) >= count / seconds - 0.1, "of so many seconds, or of a few less"
        await _whole(page, stage)
        await page.size(390, 844, phone=True)
        await page.until(FITS)
        await page.until("[...document.querySelectorAll('svg')].every((one) => one.clientWidth <= 390)")
        assert page.complaints == []


FIGURES = {
    "P50": ("inference_request_duration_seconds", 0.5),
    "P95": ("inference_request_duration_seconds", 0.95),
    "P99": ("inference_request_duration_seconds", 0.99),
    "TTFT p50": ("inference_time_to_first_token_seconds", 0.5),
    "TTFT p95": ("inference_time_to_first_token_seconds", 0.95),
    "TPOT p50": ("inference_time_per_output_token_seconds", 0.5),
}


def check(cells: dict[str, str], scrape: Scrape, place: Place) -> None:
    """Rounded as people read it, to a whole millisecond or a tenth."""
    assert (cells["Requests"], cells["Success"]) == (f"{scrape.requests[place]:.0f}", "100 %")
    for label, (name, q) in FIGURES.items():
        true = scrape.milliseconds(name, place, q)
        if true is None:
            assert cells[label] == NONE, (place, label)
        else:
            assert float(cells[label]) == pytest.approx(true, abs=0.051 if true < 9.95 else 0.51), (place, label)


async def _whole(page: Page, stage: Scene) -> None:
    """Charts, canary, topology, requests: each shows what /live and /metrics say."""
    live: dict[str, Any] = json.loads(stage.processor.get("/live")[1])
    await page.until(f"{DRAWN}.every((count) => count >= 2)")
    (canary,) = live["canaries"]
    assert await page.texts("[data-share] b") == [f"{version['share'] * 100:.1f} %" for version in canary["versions"]]
    nodes = set(await page.texts(".node .title"))
    assert {"shop/search", "shop/chat", "llama-3-8b v1", "iris v1", "a100-west", "t4-edge"} <= nodes
    await page.until("document.querySelectorAll('#requests tbody tr').length === 25")
    assert await page.eval(FITS)


HOSTILE = "<img src=x onerror=window.hacked=1>"
LONG = "meta-llama/Meta-Llama-3.1-405B-Instruct-FP8-dynamic-"
POLICY = f"""\
apiVersion: ai.istio.io/v1alpha1
kind: ModelInferencePolicy
metadata: {{name: llama}}
spec:
  host: llama
  models: [llama, "{HOSTILE}"]
  versions: [{{name: v1}}, {{name: v2}}]
  rollout: {{to: v2, prometheus: "http://127.0.0.1:1", guards: [{{promql: "{HOSTILE}", min: 1}}]}}
---
apiVersion: ai.istio.io/v1alpha1
kind: ModelInferencePolicy
metadata: {{name: long}}
spec: {{host: long, models: ["{LONG}a", "{LONG}b"], versions: [{{name: v1-2026-11-26-rc.1}}]}}
"""
WHOLE = """[document.querySelector("#models"), ...document.querySelectorAll("#models .named")].every(
    (one) => one.scrollWidth <= one.clientWidth)"""


def tell_of_strays(address: str) -> None:
    """An access log with two requests that went to no server of the policy that owned them."""
    message = pb.StreamAccessLogsMessage()
    for _ in range(2):
        common = message.http_logs.log_entry.add().common_properties
        common.upstream_cluster = "elsewhere"
        common.response_flags.no_healthy_upstream = True
        common.metadata.filter_metadata["aimesh"].update({"policy": "llama", "version": "v1"})
    with insecure(address) as channel:
        list(channel.stream_stream(STREAM)(iter([message.SerializeToString()]), timeout=10))


def test_hostile_names_are_text_and_a_dead_processor_is_told(tmp_path: Path) -> None:
    asyncio.run(_hostile(tmp_path))


async def _hostile(directory: Path) -> None:
    policy = directory / "policy.yaml"
    policy.write_text(POLICY)
    with Served(policy, "--drain", "0") as processor:
        async with browser() as page:
            await page.open(f"http://{processor.ready().admin}/", dark=True)
            await page.until("document.querySelector('#about').textContent.startsWith('ready')")
            dark = await page.eval("getComputedStyle(document.body).backgroundColor")
            asked = [exchange(model=HOSTILE, caller=f"spiffe://{HOSTILE}"), exchange("500", model=f"a{HOSTILE}")]
            await asyncio.to_thread(tell, processor.address, *asked)
            await page.until(f"document.querySelector('#models').textContent.includes({json.dumps(HOSTILE)})")
            await page.until(f"document.querySelector('#topology').textContent.includes({json.dumps(HOSTILE[:12])})")
            await page.until(f"document.querySelector('#requests').textContent.includes({json.dumps('a' + HOSTILE)})")
            await page.until("document.querySelector('#rollouts h3 b')?.textContent === 'Progressing, 1 %'")
            await page.until(f"document.querySelector('#rollouts table')?.textContent.includes({json.dumps(HOSTILE)})")
            assert await page.eval("document.querySelectorAll('main img').length") == 0
            await page.eval("document.querySelectorAll('details').forEach((one) => { one.open = true; })")
            for width in (1280, 820, 720, 390):
                await page.size(width, 844)
                await page.until(f"window.innerWidth === {width} && {FITS} && {WHOLE}")
            assert await page.eval("window.hacked") is None
            assert await page.eval("document.querySelector('[data-tile=Success] .value').textContent") == "50.0 %"
            assert await page.eval("document.querySelector('#strayed').hidden")
            await asyncio.to_thread(tell_of_strays, processor.address)
            await page.until(
                "document.querySelector('#strayed').textContent.startsWith('2 requests have gone elsewhere')"
            )
            assert await page.eval(f"!document.querySelector('#strayed').hidden && {FITS}")
            await page.send("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": "light"}])
            assert await page.eval("getComputedStyle(document.body).backgroundColor") != dark
            assert page.complaints == []
            processor.process.kill()
            processor.process.wait()
            await page.until("!document.querySelector('#trouble').hidden")
            assert await page.eval("document.querySelector('#trouble').textContent.includes('does not answer')")


ROWS = "[...document.querySelectorAll('#models > div > table tbody tr')].map((one) => JSON.parse(one.dataset.row)[0])"
FOLDED = "document.querySelectorAll('#models details tbody tr').length"
SWATCHES = (
    "[...document.querySelectorAll('#models > div > table .swatch')].map((s) => getComputedStyle(s).backgroundColor)"
)
TICKS = (
    "[...document.querySelectorAll('.chart svg')].map((c) => [...c.querySelectorAll('text')].map((t) => t.textContent))"
)


def test_busy_models_come_first_and_idle_ones_are_folded(tmp_path: Path) -> None:
    asyncio.run(_many(tmp_path))


async def _many(directory: Path) -> None:
    with Served(write_policies(directory), "--drain", "0") as processor:
        async with browser() as page:
            count = await asyncio.to_thread(tell_of_a_round, processor.ready().address)
            await page.open(f"http://{processor.admin}/")
            await page.until(f"document.querySelector('[data-tile=Requests] .more')?.textContent === '{count} in all'")
            assert await page.eval(f"JSON.stringify({ROWS})") == json.dumps(
                [*BUSY, "llama-3-8b"], separators=(",", ":")
            )
            assert await page.eval(FOLDED) == 2 * len(MODELS) - len(BUSY) - 1
            assert not await page.eval("document.querySelector('#models details').open")
            colours = json.loads(await page.eval(f"JSON.stringify({SWATCHES})"))
            assert len(set(colours)) == len(colours) == len(BUSY) + 1
            await _spans(page)
            await page.eval("document.querySelector('#models summary').click()")
            await page.eval("window.before = document.querySelector('#models details')")
            await page.until("document.querySelector('#models details') !== window.before")
            assert await page.eval("document.querySelector('#models details').open"), "as the reader left it"
            await page.size(390, 844, phone=True)
            await page.until(FITS)
            assert page.complaints == []


TOLD = "[...document.querySelectorAll('.chart h2 span')].map((one) => one.textContent)"
SPANS = "[...document.querySelectorAll('[data-span]')].map((one) => one.textContent)"
ASKED = "performance.getEntriesByType('resource').filter((one) => one.name.includes('/live?')).at(-1).name"


REFUSED = """JSON.stringify([...document.querySelectorAll("#models > div > table [data-label=Refused]")].map(
    (one) => [one.textContent, one.title, one.className.includes("warn")]))"""


def tell_of_refusals(address: str) -> None:
    """An access log with two requests of a model that the processor refused, and one that its server did."""
    message = pb.StreamAccessLogsMessage()
    for details in ("aimesh_no_room", "aimesh_queue_full", "via_upstream"):
        entry = message.http_logs.log_entry.add()
        entry.response.response_code.value = 429
        entry.response.response_code_details = details
        about = {"model": "llama", "policy": "llama", "version": "v1", "api": "openai"}
        entry.common_properties.metadata.filter_metadata["aimesh"].update(about)
    with insecure(address) as channel:
        list(channel.stream_stream(STREAM)(iter([message.SerializeToString()]), timeout=10))


def test_what_was_refused_has_a_column_where_something_was(tmp_path: Path) -> None:
    asyncio.run(_refused(tmp_path))


async def _refused(directory: Path) -> None:
    policy = directory / "policy.yaml"
    policy.write_text(POLICY)
    with Served(policy, "--drain", "0") as processor:
        async with browser() as page:
            await asyncio.to_thread(tell, processor.ready().address, exchange(model="llama"))
            await page.open(f"http://{processor.admin}/")
            await page.until("document.querySelector('[data-tile=Requests] .more')?.textContent === '1 in all'")
            assert await page.eval(REFUSED) == "[]"
            await asyncio.to_thread(tell_of_refusals, processor.address)
            await page.until("document.querySelector('[data-tile=Requests] .more').textContent === '4 in all'")
            assert json.loads(await page.eval(REFUSED)) == [["50.0 %", "no_room 1, queue_full 1", True]]
            tile = await page.eval("document.querySelector('[data-tile=Success] .more').textContent")
            assert tile == "50.0 % refused"
            for width in (1280, 390):
                await page.size(width, 844)
                await page.until(f"window.innerWidth === {width} && {FITS} && {WHOLE}")
            assert page.complaints == []


def test_ejected_servers_are_named_as_far_as_there_is_room(tmp_path: Path) -> None:
    asyncio.run(_ejected(tmp_path))


async def _ejected(directory: Path) -> None:
    policy = directory / "policy.yaml"
    policy.write_text(POLICY)
    servers = [f"[2001:db8:aaaa:bbbb:cccc:dddd:eeee:{number}]:8000" for number in range(100, 600)]
    breaker = {"policy": "p", "version": "v", "gpu_pool": "", "states": ["closed"], "in_flight": 3, "limit": 9}
    with Served(policy, "--drain", "0") as processor:
        async with browser() as page:
            await page.open(f"http://{processor.ready().admin}/")
            await page.eval("document.querySelector('main').append(window.drawn = document.createElement('section'))")
            await page.eval("drawn.className = 'card wide'; drawn.id = 'drawn'")
            for ejected, told in (
                ([], "closed"),
                (servers[:3], f"closed, without {', '.join(servers[:3])}"),
                (servers, f"closed, without {', '.join(servers[:3])} and 497 more"),
            ):
                drawn = f"breakers({json.dumps([breaker | {'ejected': ejected}])})"
                await page.eval(f"import('/page/breakers.js').then(({{ breakers }}) => drawn.replaceChildren({drawn}))")
                assert await page.texts("#drawn [data-label=State]") == [told]
                title = await page.eval("document.querySelector('#drawn [data-label=State]').title")
                assert title == ", ".join(ejected)
                for width in (1280, 390):
                    await page.size(width, 844)
                    await page.until(f"window.innerWidth === {width} && {FITS}")
                    cells = "[...document.querySelectorAll('#drawn td')]"
                    assert await page.eval(f"{cells}.every((one) => one.scrollWidth <= one.clientWidth)")
            assert page.complaints == []


async def _spans(page: Page) -> None:
    """Each chart tells the span that the reader chose, and its axis is as long; so is what is asked for of the rest,
    which tells how much of it there is: the processor has just begun.
    """
    for button, oldest, beyond, told in (
        ("300", "\u22124 min", "\u22126 min", "the last 5 min"),
        ("60", "\u221230 s", "\u22122 min", "the last 60 s"),
    ):
        await page.eval(f"document.querySelector('[data-window=\"{button}\"]').click()")
        await page.until(f"{TICKS}.every((texts) => texts.includes('{oldest}') && !texts.includes('{beyond}'))")
        assert await page.eval(f"JSON.stringify({TOLD})") == json.dumps([told] * 4, separators=(",", ":"))
        await page.until(f"{ASKED}.includes('window={button}&')")
        models, canaries, topology = json.loads(await page.eval(f"JSON.stringify({SPANS})"))
        assert re.fullmatch(r"the last \d+ s", models)
        assert models == canaries == topology

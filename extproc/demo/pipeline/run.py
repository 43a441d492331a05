"""``extproc demo pipeline``: services and models behind Envoys, traffic, traces, and a table that is verified.

Progress goes to stderr, the result to stdout; nothing is left behind.
"""

from __future__ import annotations

import asyncio
import re
import secrets
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from pathlib import Path

import aiohttp
import msgspec
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from extproc.demo.evidence import PolicyTarget, policy_targets
from extproc.demo.model_servers import Pace
from extproc.demo.pipeline import stages
from extproc.demo.pipeline.checks import in_jaeger, settled, verify
from extproc.demo.pipeline.classifier import Classifier
from extproc.demo.pipeline.collector import Collector, export_request
from extproc.demo.pipeline.envoy_document import document
from extproc.demo.pipeline.evidence import ACCESS_LOG, STATISTICS, Counted, Evidence, counted
from extproc.demo.pipeline.jaeger import Jaeger, find
from extproc.demo.pipeline.models import ChatModel, issue
from extproc.demo.pipeline.report import render, summarize
from extproc.demo.pipeline.services import FeatureStore, Postprocess, Preprocess
from extproc.demo.pipeline.stages import CLASSIFIER, CLIENT, HOSTED, LLM, Addresses, Arrival
from extproc.demo.pipeline.traffic import MODELS, Answer, Ask, drive, plan
from extproc.demo.records import Usage
from extproc.demo.report import print_json, print_table
from extproc.demo.until_signal import Shown, program, run_until_signal, say
from extproc.errors import SetupError
from extproc.gateway.envoy_process import Envoy
from extproc.gateway.free_ports import free_addresses
from extproc.gateway.processor_process import Processor
from extproc.policyfile import loader
from extproc.serve.options import ServeOptions
from extproc.serve.run_directory import run_directory

POLICY = Path(__file__).with_name("policy.yaml")
_SETTLE_TIMEOUT = 20.0
"""Seconds after the last answer within which every span and count must have come: observers may lag behind."""
_STATS = "/stats?format=json&filter=rq_completed$"
_NOW_TRY = """
Now try:
  {program} demo pipeline --keep    the same, left running, with its page of traces
  {program} demo                    a canary release, its split verified"""
_KEPT = """
It runs on until Ctrl-C:
  page      http://{admin}/
  gateway   http://{gateway}
  try       curl http://{gateway}/classify -d '{{"model": "iris", "measures": [5.1, 3.5, 1.4, 0.2]}}'"""


class Pipeline:
    """All of it, running."""

    def __init__(
        self,
        services: Services,
        at: Addresses,
        envoy: Envoy,
        admin: str,
        collector: Collector,
        jaeger: Jaeger | None,
    ) -> None:
        self.services = services
        self.gateway = at.gateway
        self.admin = admin
        """The processor's admin port."""
        self.envoy_admin = at.admin
        self.collector = collector
        self.jaeger = jaeger
        self._envoy = envoy

    async def texts(self, access_log: Path) -> dict[str, bytes]:
        """What Envoy and the processor tell whoever asks."""
        found = {ACCESS_LOG: access_log.read_bytes(), "the spans": b"".join(self.collector.messages)}
        for name, path in ((STATISTICS, _STATS), ("Envoy's configuration", "/config_dump")):
            found[name] = (await asyncio.to_thread(self._envoy.ask, path))[1]
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=10)) as session:
            for path in ("/metrics", "/config", "/live"):
                async with session.get(f"http://{self.admin}{path}", raise_for_status=True) as answer:
                    found[path] = await answer.read()
        return found


class Services:
    """Services and models, and what they have recorded."""

    def __init__(self, outbound: str, seed: int, key: str) -> None:
        self.preprocess = Preprocess(outbound, seed)
        self.features, self.postprocess = FeatureStore(seed + 1), Postprocess(seed + 2)
        self.llm = ChatModel(LLM, MODELS[LLM], Pace(first_token=0.060, per_token=0.005), seed + 3)
        self.hosted = ChatModel(HOSTED, MODELS[HOSTED], Pace(first_token=0.090, per_token=0.001), seed + 4, key)
        self.classifier = Classifier(MODELS[CLASSIFIER], think=0.006, seed=seed + 5)

    @asynccontextmanager
    async def running(self, directory: Path) -> AsyncIterator[None]:
        """For as long as the block lasts. Raises ``SetupError``."""
        certificate = issue(directory)
        async with AsyncExitStack() as stack:
            for one in (self.preprocess, self.features, self.postprocess, self.classifier, self.llm):
                await stack.enter_async_context(one.running())
            await stack.enter_async_context(self.hosted.running(tls=certificate.context()))
            yield

    @property
    def apps(self) -> Mapping[str, str]:
        """The addresses of all that have a sidecar."""
        own = (self.preprocess, self.features, self.postprocess)
        models = {LLM: self.llm.endpoint, CLASSIFIER: self.classifier.endpoint}
        return {one.name: one.endpoint for one in own} | models

    @property
    def arrivals(self) -> list[Arrival]:
        """Every request as it arrived somewhere."""
        all_ = (self.preprocess, self.features, self.postprocess, self.llm, self.hosted, self.classifier)
        return [arrival for one in all_ for arrival in one.arrivals]

    @property
    def usages(self) -> list[Usage]:
        """The tokens of every answer."""
        return [*self.llm.usages, *self.hosted.usages]


def run(as_json: bool = False, requests: int = 200, seed: int | None = None, keep: bool = False) -> int:
    """``keep``: runs on after the table, until a signal.

    Returns 0 only if every check holds, and 128 plus the signal's number after a signal.

    Raises ``SetupError`` where a part does not start or dies.
    """
    console = Console(stderr=True, highlight=False)
    demo = _demo(console, requests, secrets.randbits(31) if seed is None else seed, as_json)
    now_try = "" if as_json else _NOW_TRY.format(program=program())
    return asyncio.run(run_until_signal(demo, console, keep=keep, afterwards=now_try))


@asynccontextmanager
async def _demo(console: Console, requests: int, seed: int, as_json: bool) -> AsyncIterator[Shown]:
    """The result, while all of it still runs."""
    keys = {HOSTED: secrets.token_hex(16), CLIENT: secrets.token_hex(16)}
    with run_directory() as directory:
        async with pipeline(directory, seed, keys[HOSTED], console) as (running, targets):
            asks = plan(requests, seed)
            say(console, f"Traffic: {len(asks)} requests to http://{running.gateway} (seed {seed})")
            began = time.monotonic()
            answers = await _drive(console, f"http://{running.gateway}", asks, keys[CLIENT])
            seconds = time.monotonic() - began
            evidence = await _settled(running, answers, targets, keys, directory / "access.json")
            report = summarize(evidence, verify(evidence), seed, seconds)
            printed = (
                partial(print_json, report) if as_json else partial(print_table, partial(render, report), Console())
            )
            yield Shown(report.ok, printed, lambda: _KEPT.format(admin=running.admin, gateway=running.gateway))


@asynccontextmanager
async def pipeline(
    directory: Path, seed: int, key: str, console: Console
) -> AsyncIterator[tuple[Pipeline, Sequence[PolicyTarget]]]:
    """All of it, with its files in ``directory``. ``key``: that of the hosted model. Raises ``SetupError``."""
    at = stages.free()
    services = Services(at.outbound, seed, key)
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(services.running(directory))
        collector = await stack.enter_async_context(Collector().running())
        policy = _policy(directory, at, services, key)
        snapshot = loader.load([policy]).snapshot
        say(
            console,
            f"Services: {', '.join(services.apps)}; {MODELS[HOSTED]} behind HTTPS on {services.hosted.endpoint}",
        )
        (admin,) = free_addresses(1)
        options = ServeOptions(
            policies=(policy,),
            listen=(f"unix://{directory / 'processor.sock'}",),
            admin=admin,
            drain=0.0,
            grace=1.0,
            otlp=f"http://{collector.address}",
        )
        processor = Processor(options, echo=False)
        stack.callback(processor.child.terminate, 5.0)
        await asyncio.to_thread(processor.wait_ready, admin)
        collector.copy_to(options.listen[0])
        jaeger = None
        if found := find():
            jaeger = await stack.enter_async_context(Jaeger.running(found, directory))
            collector.copy_to(jaeger.otlp)
            say(console, f"Jaeger: every span, too; {jaeger.url}")
        log = str(directory / "access.json")
        made = document(snapshot, at, services.apps, options.listen[0], collector.address, log)
        envoy = stack.enter_context(Envoy(made, directory))
        await asyncio.to_thread(envoy.wait_ready)
        listeners = len(made["static_resources"]["listeners"])
        say(console, f"Envoy: one process with {listeners} listeners, each of which traces under its service's name")
        yield Pipeline(services, at, envoy, admin, collector, jaeger), policy_targets(snapshot)


def _policy(directory: Path, at: Addresses, services: Services, key: str) -> Path:
    """The demo's policies with these addresses and files in the place of those in the file."""
    file = directory / "hosted.key"
    file.touch(mode=0o600)
    file.write_text(key + "\n")
    real = {
        "127.0.0.1:9001": at.inbound[LLM],
        "127.0.0.1:9002": at.inbound[CLASSIFIER],
        "127.0.0.1:9443": services.hosted.endpoint,
        "/etc/aimesh/": f"{directory}/",
    }
    policy = directory / "policy.yaml"
    policy.write_text(re.sub("|".join(map(re.escape, real)), lambda found: real[found[0]], POLICY.read_text()))
    return policy


async def _drive(console: Console, url: str, asks: Sequence[Ask], token: str) -> list[Answer]:
    columns = (TextColumn("  requests"), BarColumn(40), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console) as progress:
        bar = progress.add_task("", total=len(asks))
        return await drive(url, asks, token, done=lambda: progress.advance(bar))


async def _settled(
    running: Pipeline,
    answers: Sequence[Answer],
    targets: Sequence[PolicyTarget],
    keys: Mapping[str, str],
    access_log: Path,
) -> Evidence:
    """What was recorded, once it is complete, or after ``_SETTLE_TIMEOUT``. Raises ``SetupError``."""
    running.collector.take(export_request([answer.root() for answer in answers]))
    deadline = time.monotonic() + _SETTLE_TIMEOUT
    services = running.services
    while True:
        spans = running.collector.spans()
        try:
            texts = await running.texts(access_log)
        except (aiohttp.ClientError, OSError) as error:
            raise SetupError(f"the pipeline does not tell what it counted: {error}") from error
        found: Counted = counted(targets, texts[STATISTICS], texts["/metrics"].decode())
        evidence = Evidence(answers, spans, services.arrivals, services.usages, found, targets, keys, texts)
        if settled(evidence) or time.monotonic() > deadline:
            break
        await asyncio.sleep(0.2)
    while running.jaeger is not None:
        stored = await running.jaeger.stored(answer.ask.trace for answer in answers)
        evidence = msgspec.structs.replace(evidence, jaeger=stored)
        if in_jaeger(evidence).ok or time.monotonic() > deadline:
            break
        await asyncio.sleep(0.5)
    return evidence

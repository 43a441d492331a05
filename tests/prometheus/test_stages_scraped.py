"""Rows of a pipeline's services: on meshes by promtool, behind Envoys by the demo and a real Prometheus."""

from __future__ import annotations

import asyncio
import math
import os
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from rich.console import Console

from extproc.demo.pipeline.run import Pipeline, pipeline
from extproc.demo.pipeline.stages import GATEWAY, SIDECARS
from extproc.demo.pipeline.traffic import drive, plan
from extproc.policy.snapshot import Snapshot
from extproc.policyfile import loader
from extproc.render.document import to_yaml
from extproc.render.envoy.envoy_options import NAMESPACE
from extproc.render.grafana.dashboard import dashboard
from extproc.render.grafana.stage_rows import stage_rows
from extproc.render.prometheus.rule_groups import rule_groups
from extproc.render.source_names import Proxies
from tests.prometheus.conftest import Judge, steady
from tests.prometheus.server import Prometheus
from tests.prometheus.test_dashboard import all_chosen
from tests.unit.demo.pipeline.scene import POLICY

PATIENCE = 60
"""Seconds until everything that is asked has an answer: scrapes come once a second."""
LONG = 3600
ISTIO = 'reporter="destination", destination_workload="preprocess"'
LINKERD = 'direction="inbound", deployment="preprocess"'
SERIES: dict[Proxies, dict[str, str]] = {
    "istio": {
        f'istio_requests_total{{{ISTIO}, response_code="200"}}': steady(9, LONG),
        f'istio_requests_total{{{ISTIO}, response_code="503"}}': steady(1, LONG),
        'istio_requests_total{reporter="source", destination_workload="preprocess"}': steady(7, LONG),
        f'istio_request_duration_milliseconds_bucket{{{ISTIO}, le="100"}}': steady(10, LONG),
        f'istio_request_duration_milliseconds_bucket{{{ISTIO}, le="+Inf"}}': steady(10, LONG),
    },
    "linkerd": {
        f'response_total{{{LINKERD}, classification="success"}}': steady(9, LONG),
        f'response_total{{{LINKERD}, classification="failure"}}': steady(1, LONG),
        'response_total{direction="outbound", deployment="preprocess"}': steady(7, LONG),
        f'response_latency_ms_bucket{{{LINKERD}, le="100"}}': steady(10, LONG),
        f'response_latency_ms_bucket{{{LINKERD}, le="+Inf"}}': steady(10, LONG),
    },
}


@pytest.mark.parametrize("proxies", SERIES)
def test_success_rate_and_durations_of_a_stage(proxies: Proxies, judge: Judge) -> None:
    (row,) = stage_rows(["preprocess"], proxies)
    success, requests, p50, *_ = (all_chosen(one["expr"]) for panel in row.panels for one in panel["targets"])
    expected = {success: {"{}": 0.9}, requests: {"{}": 10.0}, p50: {"{}": 0.05}}
    judge(Snapshot(), "extproc", SERIES[proxies], "30m", expected)


@pytest.mark.envoy
@pytest.mark.skipif("EXTPROC_TEST_PIPELINE" not in os.environ, reason="make test-pipeline: half a minute")
def test_every_query_has_data_from_the_pipeline(prometheus_program: str, tmp_path: Path) -> None:
    snapshot = loader.load([POLICY]).snapshot
    made = dashboard(snapshot, [GATEWAY, NAMESPACE, *SIDECARS], "envoy")
    assert sum(panel["title"].startswith("Stage: ") for panel in made["panels"]) == 7

    async def main() -> None:
        async with pipeline(tmp_path, 1, "key", Console(stderr=True)) as (running, _):
            with _prometheus(prometheus_program, tmp_path, running) as prometheus:
                await _until_all_answer(prometheus, made, running)

    asyncio.run(main())


def _prometheus(program: str, directory: Path, running: Pipeline) -> Prometheus:
    groups = rule_groups(loader.load([POLICY]).snapshot, "extproc")
    for group in groups:
        group["interval"] = "1s"
    (directory / "rules.yaml").write_text(to_yaml({"groups": groups}))
    jobs = {"extproc": (running.admin, "/metrics"), "envoy": (running.envoy_admin, "/stats/prometheus")}
    scraped = [
        {"job_name": job, "metrics_path": path, "static_configs": [{"targets": [address]}]}
        for job, (address, path) in jobs.items()
    ]
    settings = {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"}
    return Prometheus(program, directory, {"global": settings, "rule_files": ["rules.yaml"], "scrape_configs": scraped})


async def _until_all_answer(prometheus: Prometheus, made: dict[str, Any], running: Pipeline) -> None:
    """Traffic in waves, since a rate begins with the second scrape that sees a series."""
    without = [all_chosen(one["expr"]) for panel in made["panels"] for one in panel.get("targets", [])]
    assert len(without) > 30
    wave = 0
    async with asyncio.timeout(PATIENCE):
        while without:
            wave += 1
            answers = await drive(f"http://{running.gateway}", plan(24, wave), "token")
            assert [answer.error for answer in answers if answer.error] == []
            await _ask_for_another_model(running)
            without = [one for one in without if not any(math.isfinite(v) for _, v in prometheus.query(one))]


async def _ask_for_another_model(running: Pipeline) -> None:
    """One that no policy owns."""
    body = {"model": "mistral-7b", "messages": [{"role": "user", "content": "hello"}]}
    url = f"http://{running.gateway}/v1/chat/completions"
    async with aiohttp.ClientSession() as session, session.post(url, json=body) as answer:
        assert answer.status == 404

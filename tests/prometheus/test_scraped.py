"""The demo behind a real Envoy, scraped by a real Prometheus: every rule is healthy, the dashboard has data."""

from __future__ import annotations

import asyncio
import math
import re
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml

from extproc.demo.gateway_process import Gateway
from extproc.demo.model_servers import ModelServer, OipServer, OpenAIServer, Pace
from extproc.demo.run import policy_for
from extproc.demo.traffic import CHAT_MODEL, TENSOR_MODEL, drive, plan
from extproc.policyfile import loader
from extproc.render.document import to_yaml
from extproc.render.grafana.dashboard import dashboard
from extproc.render.prometheus.golden_rules import REQUESTS, SUCCESS, TOKENS, TTFT
from extproc.render.prometheus.processor_rules import FAILED_OPEN
from extproc.render.prometheus.rule_groups import rule_groups
from extproc.telemetry.metric_families import FIRST_TOKEN_BUCKETS
from tests.prometheus.server import Prometheus
from tests.prometheus.test_dashboard import all_chosen
from tests.waiting import until

pytestmark = pytest.mark.envoy

OBSERVED = {"slo": {"availability": 99.9, "timeToFirstToken": {"under": "40s", "target": 95}}}
"""Nothing that a busy machine could break."""
PATIENCE = 30
"""Seconds until everything that is asked has an answer: scrapes and evaluations come once a second."""


@asynccontextmanager
async def _model_servers() -> AsyncIterator[Sequence[ModelServer]]:
    servers = (
        OpenAIServer([CHAT_MODEL], Pace(first_token=0.060, per_token=0.006), 1),
        OpenAIServer([f"{CHAT_MODEL}-instruct"], Pace(first_token=0.035, per_token=0.004), 2),
        OipServer([TENSOR_MODEL], Pace(first_token=0.008), 3),
    )
    async with AsyncExitStack() as stack:
        for server in servers:
            await stack.enter_async_context(server.running())
        yield servers


def _policy(directory: Path, endpoints: Sequence[str]) -> Path:
    """The demo's, with objectives."""
    documents = list(yaml.safe_load_all(policy_for(endpoints)))
    documents[0]["spec"]["observability"] = OBSERVED
    file = directory / "policy.yaml"
    file.write_text(yaml.safe_dump_all(documents))
    return file


def _prometheus(program: str, directory: Path, policy: Path, gateway: Gateway) -> Prometheus:
    groups = rule_groups(loader.load([policy]).snapshot, "extproc")
    for group in groups:
        group["interval"] = "1s"
    (directory / "rules.yaml").write_text(to_yaml({"groups": groups}))
    jobs = {"extproc": (gateway.admin, "/metrics"), "envoy": (gateway.envoy_admin, "/stats/prometheus")}
    scraped = [
        {"job_name": job, "metrics_path": path, "static_configs": [{"targets": [url.removeprefix("http://")]}]}
        for job, (url, path) in jobs.items()
    ]
    settings = {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"}
    document = {"global": settings, "rule_files": ["rules.yaml"], "scrape_configs": scraped}
    return Prometheus(program, directory, document)


async def _until_all_answer(prometheus: Prometheus, queries: Sequence[str], gateway: Gateway) -> None:
    """Traffic in waves, since a rate begins with the second scrape that sees a series."""
    without = list(queries)
    async with asyncio.timeout(PATIENCE):
        for wave in range(1000):
            answers = await drive(gateway.url, plan(40, wave))
            assert {answer.status for answer in answers} == {200, 404}
            without = [query for query in without if not _has_data(prometheus, query)]
            if not without:
                return


def _has_data(prometheus: Prometheus, query: str) -> bool:
    """A number, and not just the answer that there is none."""
    return any(math.isfinite(value) for _, value in prometheus.query(query))


def _panel_queries(made: dict[str, Any]) -> list[str]:
    """Those of the panels, and what the variables choose from."""
    panels = [target["expr"] for panel in made["panels"] for target in panel.get("targets", [])]
    asked = [variable["query"]["query"] for variable in made["templating"]["list"] if variable["type"] == "query"]
    assert len(asked) == 4
    chosen = [re.sub(r"label_values\((.*)}, (\w+)\)", r'\1, \2!=""}', one).replace("{, ", "{") for one in asked]
    return [all_chosen(query) for query in (*panels, *chosen)]


def test_every_query_of_the_dashboard_has_data(prometheus_program: str, tmp_path: Path) -> None:
    async def scene() -> None:
        async with _model_servers() as servers:
            policy = _policy(tmp_path, [server.endpoint for server in servers])
            queries = _panel_queries(dashboard(loader.load([policy]).snapshot))
            async with Gateway.running(policy) as gateway:
                with _prometheus(prometheus_program, tmp_path, policy, gateway) as prometheus:
                    await _until_all_answer(prometheus, queries, gateway)
                    _judge(prometheus)

    asyncio.run(scene())


def _judge(prometheus: Prometheus) -> None:
    assert [rule["lastError"] for rule in prometheus.rules() if rule["health"] != "ok"] == []
    places = {("chat", "v1", "a100-west"), ("chat", "v2", "h100-east"), ("classifier", "v1", "t4-edge")}
    # 404 is what strangers get, which belong to no policy. A place has a rate from its second scrape on.
    until(lambda: len(_success(prometheus)) == len(places))
    assert _success(prometheus) == dict.fromkeys(places, 1.0)
    assert {(of["policy"], of["version"], of["gpu_pool"]) for of, _ in prometheus.query(f"{REQUESTS} > 0")} == places
    # The servers take about 60 ms and 35 ms to the first token, and no client waited for seconds. Prometheus
    # interpolates: all that it tells for certain is the bucket.
    first = {of["version"]: value for of, value in prometheus.query(f'{TTFT}{{quantile="0.5"}}')}
    for version, pace in (("v1", 0.060), ("v2", 0.035)):
        assert max(bound for bound in FIRST_TOKEN_BUCKETS if bound < pace) <= first[version] < 2
    assert {of["type"] for of, value in prometheus.query(TOKENS) if value > 0} >= {"input", "output"}
    assert FAILED_OPEN in prometheus.names()
    assert prometheus.query('ALERTS{alertstate="firing"}') == []


def _success(prometheus: Prometheus) -> dict[tuple[str, str, str], float]:
    return {(of["policy"], of["version"], of["gpu_pool"]): value for of, value in prometheus.query(SUCCESS)}

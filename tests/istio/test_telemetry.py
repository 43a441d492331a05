"""What Istio's metrics are told apart by: expressions that the real Envoy evaluates, rules that promtool takes; and
what our own observer counts in the mesh.
"""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from extproc.policy.gpu import Gpu
from extproc.policy.snapshot import GpuPool, Policy, Snapshot, Version
from extproc.render.istio.manifests import IstioOptions, documents
from extproc.render.istio.telemetry_api import tags
from tests.envoy.conftest import Gateway, ModelServer, Processor, write_out_logs
from tests.house.tree import ROOT
from tests.istio import mesh
from tests.istio.patching import Proxy
from tests.waiting import until

SNAPSHOT = Snapshot(
    (
        Policy("chat", host="c", models=("llama", "llama-*", "it's", "ünï ✓"), versions=(Version("v1"), Version("v2"))),
        Policy("rest", host="r", models=("*",), versions=(Version("v1"), Version("m", 0, mirror=1))),
        Policy("odd", host="o", models=("*-x-*", "*-tail")),
    ),
    (GpuPool("west", Gpu()),),
)
NAMES = ("none", "other", "llama", "llama-*", "it's", "ünï ✓", "*-x-*", "*-tail", "*")
CANDIDATES = {
    "model_name": NAMES,
    "model_version": ("none", "other", "v1", "v2", "m"),
    "gpu_pool": ("none", "other", "west"),
}
REQUESTS: list[tuple[dict[str, str], tuple[str, str, str]]] = [
    ({}, ("none", "none", "none")),
    ({"x-model-name": "llama", "x-model-version": "v2", "x-gpu-pool": "west"}, ("llama", "v2", "west")),
    ({"x-model-name": "llama-3", "x-model-version": "v9", "x-gpu-pool": "x' || true"}, ("llama-*", "other", "other")),
    ({"x-model-name": "it's", "x-model-version": "m"}, ("it's", "other", "none")),
    ({"x-model-name": "%C3%BCn%C3%AF%20%E2%9C%93"}, ("ünï ✓", "none", "none")),
    ({"x-model-name": "a-x-b"}, ("*-x-*", "none", "none")),
    ({"x-model-name": "a-tail"}, ("*-tail", "none", "none")),
    ({"x-model-name": "made up by a client"}, ("*", "none", "none")),
]


def logger(path: Path, tag: str, expression: str, value: str) -> dict[str, Any]:
    """Writes ``tag=value`` for each request for which the tag has this value."""
    quoted = value.replace("'", "\\'")
    condition = {
        "name": "envoy.access_loggers.extension_filters.cel",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.access_loggers.filters.cel.v3.ExpressionFilter",
            "expression": f"({expression}) == '{quoted}'",
        },
    }
    return {
        "name": "envoy.access_loggers.file",
        "filter": {"extension_filter": condition},
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog",
            "path": str(path),
            "log_format": {"text_format_source": {"inline_string": f"%REQ(X-NUMBER)% {tag}={value}\n"}},
        },
    }


@pytest.mark.envoy
def test_tags_have_the_values_that_the_policies_say(
    tmp_path: Path, run: Callable[[Proxy], Gateway], monkeypatch: pytest.MonkeyPatch
) -> None:
    answer = {"name": "default", "match": {"prefix": "/"}, "direct_response": {"status": 200}}
    proxy = Proxy("SIDECAR_INBOUND", 8080, [{"name": "all", "domains": ["*"], "routes": [answer]}], [])
    log = tmp_path / "tags.log"
    loggers = [logger(log, tag, text, value) for tag, text in tags(SNAPSHOT).items() for value in CANDIDATES[tag]]
    plain = proxy.bootstrap
    monkeypatch.setattr(proxy, "bootstrap", lambda log: _with(plain(log), loggers))
    envoy = run(proxy)
    for number, (sent, _) in enumerate(REQUESTS):
        names = {name.replace("-", "_"): value for name, value in sent.items()}
        assert envoy.post(b"", "/", x_number=str(number), **names).status == 200
    wanted = [
        f"{number} {tag}={value}"
        for number, (_, values) in enumerate(REQUESTS)
        for tag, value in zip(CANDIDATES, values, strict=True)
    ]

    def lines() -> list[str]:
        write_out_logs(envoy.envoy)
        return log.read_text().splitlines() if log.exists() else []

    until(lambda: len(lines()) >= len(wanted))
    assert sorted(lines()) == sorted(wanted)


def _with(document: dict[str, Any], loggers: list[dict[str, Any]]) -> dict[str, Any]:
    (chain,) = document["static_resources"]["listeners"][0]["filter_chains"]
    chain["filters"][0]["typed_config"]["access_log"] += loggers
    return document


@pytest.mark.skipif(shutil.which("promtool") is None, reason="no promtool: apt-get install prometheus")
def test_promtool_takes_the_rules(tmp_path: Path) -> None:
    found = documents(SNAPSHOT, IstioOptions(rules=True))
    (rule,) = [each for each in found if each["kind"] == "PrometheusRule"]
    file = tmp_path / "rules.yaml"
    file.write_text(yaml.safe_dump(rule["spec"]))
    done = subprocess.run(["promtool", "check", "rules", str(file)], capture_output=True, text=True, check=False)  # noqa: S607
    assert done.returncode == 0, done.stdout + done.stderr


def timed(processor: Processor) -> float:
    """How many exchanges were timed."""
    samples = (sample for family in processor.metrics.collect() for sample in family.samples)
    return sum(s.value for s in samples if s.name == "inference_request_duration_seconds_count")


@pytest.mark.envoy
def test_the_meshs_log_knows_models(
    servers: Callable[..., list[ModelServer]],
    processor: Callable[..., Processor],
    run: Callable[[Proxy], Gateway],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    """The fields of mesh-values.yaml in a real Envoy, as Istio makes JSON of them."""
    values = yaml.safe_load((ROOT / "istio" / "mesh-values.yaml").read_text())
    (provider,) = values["meshConfig"]["extensionProviders"]
    log = tmp_path / "mesh.log"
    file = {
        "name": "envoy.access_loggers.file",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog",
            "path": str(log),
            "log_format": {"json_format": provider["envoyFileAccessLog"]["logFormat"]["labels"]},
        },
    }
    v1, v2, other = servers("v1", "v2", "other")
    snapshot = Snapshot((mesh.policy(),))
    proxy = mesh.proxy(snapshot, [mesh.pod(v1, "v1"), mesh.pod(v2, "v2")], other, processor(snapshot))
    plain = proxy.bootstrap
    monkeypatch.setattr(proxy, "bootstrap", lambda path: _with(plain(path), [file]))
    envoy = run(proxy)
    assert envoy.ask("llama", host=mesh.CHAT, x_beta="true").text == "v2"

    def lines() -> list[str]:
        write_out_logs(envoy.envoy)
        return log.read_text().splitlines() if log.exists() else []

    until(lines)
    line = json.loads(lines()[0])
    wanted = {"model": "llama", "version": "v2", "policy": "chat", "api": "openai", "cohort": "match", "code": 200}
    assert {key: line[key] for key in wanted} == wanted
    assert line["cluster"] == f"outbound|8080|v2|{mesh.CHAT}"
    assert float(line["processor_us"]) > 0
    assert line["failed_open"] in (None, 0, "0")


@pytest.mark.envoy
def test_an_exchange_is_counted_at_the_client(
    servers: Callable[..., list[ModelServer]],
    processor: Callable[..., Processor],
    run: Callable[[Proxy], Gateway],
) -> None:
    v1, v2, other = servers("v1", "v2", "other")
    snapshot = Snapshot((mesh.policy(),))
    process = processor(snapshot)
    envoy = run(mesh.proxy(snapshot, [mesh.pod(v1, "v1"), mesh.pod(v2, "v2")], other, process))
    assert envoy.ask("llama", host=mesh.CHAT, x_beta="true").text == "v2"
    until(lambda: mesh.counted(process))
    assert [(c["model"], c["version"], c["api"], c["code"]) for c in mesh.counted(process)] == [
        ("llama", "v2", "openai", "200")
    ]


@pytest.mark.envoy
def test_an_exchange_is_counted_at_the_model_server_by_what_the_client_side_said(
    servers: Callable[..., list[ModelServer]],
    processor: Callable[..., Processor],
    run: Callable[[Proxy], Gateway],
) -> None:
    v1, other = servers("v1", "other")
    snapshot = Snapshot((mesh.policy(selector=(("app", "chat"),)),))
    process = processor(snapshot)
    pods = [mesh.pod(v1)]
    envoy = run(mesh.proxy(snapshot, pods, other, process, at="SIDECAR_INBOUND", proxies=("inbound",)))
    sent = {"x_model_name": "llama", "x_model_version": "v2"}
    assert envoy.ask("llama", host=mesh.CHAT, **sent).text == "v1"
    until(lambda: mesh.counted(process))
    assert [(c["model"], c["version"], c["api"], c["code"]) for c in mesh.counted(process)] == [
        ("llama", "v2", "openai", "200")
    ]
    assert timed(process) == 1
    assert v1.seen[0].headers["x-model-version"] == "v2", "nothing is changed here"

"""A processor whose policies name pages and a Prometheus that never end."""

from __future__ import annotations

import signal
from pathlib import Path

from tests.grpc.served import Served
from tests.hostile_server import HostileServer, dripping
from tests.waiting import until

POLICY = """\
apiVersion: ai.istio.io/v1alpha1
kind: ModelInferencePolicy
metadata: {name: chat}
spec:
  models: [llama]
  versions: [{name: v1, endpoints: ["127.0.0.1:9"]}, {name: v2, weight: 0, endpoints: ["127.0.0.1:9"]}]
  rollout: {to: v2, prometheus: "PROMETHEUS", guards: [{promql: up, min: 1}]}
"""
POOL = """\
---
apiVersion: ai.istio.io/v1alpha1
kind: GpuPool
metadata: {name: NAME}
spec: {architecture: h100, endpoints: ["127.0.0.1:9"], metrics: {type: vllm, url: "URL"}}
"""
PAGE = b"HTTP/1.1 200 OK\r\ncontent-length: 28\r\n\r\nvllm:num_requests_waiting 3\n"


def test_they_hold_up_neither_the_good_ones_nor_the_end(tmp_path: Path) -> None:
    with HostileServer(lambda: [PAGE]) as good, dripping() as slow, dripping() as prometheus:
        pools = {"good": good.url, **{f"slow-{n}": f"{slow.url}/{n}" for n in range(20)}}
        file = tmp_path / "policy.yaml"
        file.write_text(POLICY.replace("PROMETHEUS", prometheus.url))
        with file.open("a") as more:
            more.writelines(POOL.replace("NAME", name).replace("URL", url) for name, url in pools.items())
        with Served(file, "--drain", "0").ready() as served:
            until(lambda: good.asked >= 2)
            until(lambda: served.config()["free"].keys() == {"good"})
            until(lambda: prometheus.open and slow.open == 20)
            served.signal(signal.SIGTERM)
            assert served.exit_status() == 0

"""Two workers behind a real Envoy: what both send to servers counts for both, and ends wherever Envoy tells of it.

``EXTPROC_TEST_COLLECTOR=1`` (`make test-collector`).
"""

from __future__ import annotations

import http.client
import json
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Event

import pytest

from tests.waiting import until

from .conftest import Handler, ModelServer, say
from .test_up import Up

pytestmark = [
    pytest.mark.envoy,
    pytest.mark.skipif(not os.environ.get("EXTPROC_TEST_COLLECTOR"), reason="longer: make test-collector"),
]
POLICY = """\
apiVersion: ai.istio.io/v1alpha1
kind: ModelInferencePolicy
metadata: {name: chat}
spec:
  models: [llama]
  versions: [{name: v1, endpoints: [ENDPOINTS]}]
  picking: {by: least-loaded}
"""
REQUESTS = 60


def in_flight(up: Up) -> list[float]:
    connection = http.client.HTTPConnection("127.0.0.1", up.admin, timeout=5)
    try:
        connection.request("GET", "/live")
        return [row["in_flight"] for row in json.loads(connection.getresponse().read())["endpoints"]]
    finally:
        connection.close()


def test_requests_are_counted_by_all_workers_and_end(servers: Callable[..., list[ModelServer]], tmp_path: Path) -> None:
    models, go_on = servers("a", "b", "c"), Event()

    def wait(request: Handler) -> None:
        go_on.wait(60)
        say(b"ok")(request)

    for model in models:
        model.then = wait
    policy = tmp_path / "policy.yaml"
    policy.write_text(POLICY.replace("ENDPOINTS", ", ".join(f'"{model.address}"' for model in models)))
    with TemporaryDirectory(prefix="up-") as scratch, ThreadPoolExecutor(REQUESTS) as pool:
        up = Up(policy, scratch, "--workers", "2")
        try:
            until(up.ready, 60)
            asked = [pool.submit(up.ask) for _ in range(REQUESTS)]
            until(lambda: sum(in_flight(up)) == REQUESTS)
            assert in_flight(up) == [REQUESTS / 3] * 3
            until(lambda: [len(model.seen) for model in models] == [REQUESTS / 3] * 3)
            go_on.set()
            assert len([each.result(60) for each in asked]) == REQUESTS
            until(lambda: sum(in_flight(up)) == 0)
        finally:
            go_on.set()
            up.process.terminate()
            up.process.wait(60)
            up.errors.close()

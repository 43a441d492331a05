"""Two GPU pools that tell how busy they are, behind the real Envoy: with their answers, and on metrics pages.

The model servers are ours and say what vLLM says; a GPU would be needed for the real one.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from extproc.policyfile import loader
from tests.envoy.conftest import Gateway, Handler, ModelServer
from tests.grpc.served import Served
from tests.waiting import until

pytestmark = pytest.mark.envoy

POLICY = """\
apiVersion: ai.istio.io/v1alpha1
kind: ModelInferencePolicy
metadata: {{name: chat}}
spec:
  models: [llama]
  versions: [{{name: v1}}]
  sticky: {{header: x-user}}
  gpuRequirements: {{architecture: a100}}
---
apiVersion: ai.istio.io/v1alpha1
kind: GpuPool
metadata: {{name: west}}
spec: {{architecture: a100, memory: 80Gi, endpoints: ["{west}"], metrics: {{type: vllm{west_page}}}}}
---
apiVersion: ai.istio.io/v1alpha1
kind: GpuPool
metadata: {{name: east}}
spec: {{architecture: a100, memory: 80Gi, endpoints: ["{east}"], metrics: {{type: vllm{east_page}}}}}
"""


class Vllm:
    """Answers as vLLM does: its load on `/metrics`, and with an answer where the request asks for it."""

    def __init__(self, server: ModelServer) -> None:
        self.server = server
        self.waiting = 0
        server.then = self.answer

    def answer(self, request: Handler) -> None:
        body = b"{}"
        request.send_response(200)
        if request.path == "/metrics":
            body = b"vllm:num_requests_waiting %d\nvllm:kv_cache_usage_perc 0.1\n" % self.waiting
        elif request.headers.get("endpoint-load-metrics-format") == "JSON":
            told = f'JSON {{"named_metrics": {{"kv_cache_usage_perc": 0.1, "num_requests_waiting": {self.waiting}}}}}'
            request.send_header("endpoint-load-metrics", told)
        request.send_header("content-type", "application/json")
        request.send_header("content-length", str(len(body)))
        request.end_headers()
        request.wfile.write(body)


Servers = Callable[..., list[ModelServer]]


def pools(envoy: Gateway, count: int = 60, **headers: str) -> Counter[str]:
    return Counter(envoy.ask("llama", **headers).headers["x-gpu-pool"] for _ in range(count))


@pytest.mark.parametrize("page", [False, True], ids=["with answers", "on a page"])
def test_requests_follow_what_is_free_and_users_stay(
    page: bool, servers: Servers, gateway: Callable[..., Gateway], tmp_path: Path
) -> None:
    west, east = map(Vllm, servers("west", "east"))
    pages = {
        f"{name}_page": f', url: "http://{one.server.address}/metrics"' if page else ""
        for name, one in (("west", west), ("east", east))
    }
    file = tmp_path / "policy.yaml"
    file.write_text(POLICY.format(west=west.server.address, east=east.server.address, **pages))
    west.waiting = 50
    with Served(file) as served:
        envoy = gateway(loader.load([file]).snapshot, served.ready().address)
        users = {user: pools(envoy, 1, x_user=user) for user in "abcdefgh"}
        assert len(set(map(tuple, users.values()))) == 2, "users are spread over both pools"

        def west_is_full() -> bool:
            if not page:
                pools(envoy, 4)  # nobody tells anything without being asked
            return bool(served.config()["free"].get("west", 1.0) < 0.3)

        until(west_is_full)
        found = pools(envoy)
        assert found["east"] > 3 * found["west"]
        assert {user: pools(envoy, 1, x_user=user) for user in users} == users
        west.waiting = 0

        def west_is_free() -> bool:
            if not page:
                pools(envoy, 4)
            return bool(served.config()["free"].get("west", 0.0) > 0.5)

        until(west_is_free, 30)
        assert pools(envoy)["west"] > 5

        answer = envoy.ask("llama")
        assert "endpoint-load-metrics" not in answer.headers, "no business of the client's"
        asked = {seen.headers.get("endpoint-load-metrics-format") for one in (west, east) for seen in one.server.seen}
        assert asked == ({None} if page else {"JSON"})


def test_a_page_that_tells_nothing_costs_nothing_but_a_count(
    servers: Servers, gateway: Callable[..., Gateway], tmp_path: Path
) -> None:
    west, east = servers("west", "east")
    file = tmp_path / "policy.yaml"
    pages = {"west_page": f', url: "http://{west.address}/metrics"', "east_page": ', url: "http://127.0.0.1:1/metrics"'}
    file.write_text(POLICY.format(west=west.address, east=east.address, **pages))
    with Served(file) as served:
        envoy = gateway(loader.load([file]).snapshot, served.ready().address)
        until(lambda: served.metric('extproc_errors_total{reason="pool_metrics"}') >= 3)
        assert served.config()["free"] == {}
        assert set(pools(envoy)) == {"west", "east"}
        assert served.log.count("pool west is not known: none of the metrics of vllm is on the page") == 1
        assert served.log.count("the load of the pool east is not known") == 1

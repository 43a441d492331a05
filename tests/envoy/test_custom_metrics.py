"""Metrics that a policy asks for, through the real Envoy and the real server: one process, and two."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from extproc.policyfile import loader
from tests.envoy.conftest import Gateway, ModelServer, say
from tests.grpc.served import Served, ServedWorkers
from tests.waiting import until

pytestmark = pytest.mark.envoy

POLICY = """\
apiVersion: ai.istio.io/v1alpha1
kind: ModelInferencePolicy
metadata: {{name: chat}}
spec:
  versions: [{{name: v1, endpoints: ["{address}"]}}]
  gpuRequirements: {{architecture: a100}}
  observability:
    customMetrics:
    - {{name: inference_throughput, type: GAUGE, labels: [model_version, gpu_type]}}
    - {{name: feature_cache_hit_ratio, type: GAUGE, labels: [model_name]}}
    - name: feature_store_hit_ratio
      type: GAUGE
      labels: [api]
      source: {{header: x-feature-hits}}
      per: {{body: /features/asked}}
    - {{name: model_seconds, type: COUNTER, source: {{header: x-model-seconds}}}}
    - {{name: answer_tokens, type: HISTOGRAM, source: outputTokens, buckets: [10, 100]}}
"""
RATE = 'inference_throughput{gpu_type="a100",model_version="v1"}'


@pytest.fixture
def model(servers: Callable[..., list[ModelServer]]) -> ModelServer:
    return servers("m")[0]


@pytest.fixture
def policy(model: ModelServer, tmp_path: Path) -> Path:
    path = tmp_path / "policy.yaml"
    path.write_text(POLICY.format(address=model.address))
    return path


def usage(prompt: int, cached: int, output: int) -> dict[str, Any]:
    details = {"prompt_tokens": prompt, "completion_tokens": output, "prompt_tokens_details": {"cached_tokens": cached}}
    return {"choices": [], "usage": details}


def ask(envoy: Gateway, model: ModelServer) -> None:
    """Three answers: a document, a stream, and one of an API of which nobody knows the answers."""
    model.then = say(json.dumps(usage(10, 0, 5)).encode(), content_type="application/json", x_model_seconds="0.5")
    assert envoy.ask("llama").status == 200
    events = f"data: {json.dumps(usage(90, 60, 115))}\n\ndata: [DONE]\n\n".encode()
    model.then = say(events, content_type="text/event-stream", x_model_seconds="not a number")
    assert envoy.ask("llama").status == 200
    features = json.dumps({"predictions": [1], "features": {"asked": 8}}).encode()
    model.then = say(features, content_type="application/json", x_feature_hits="6", x_model_seconds="0.25")
    assert envoy.post({"instances": []}, "/v1/models/iris:predict").status == 200


def test_what_requests_and_responses_tell(policy: Path, model: ModelServer, gateway: Callable[..., Gateway]) -> None:
    with Served(policy) as served:
        envoy = gateway(loader.load([policy]).snapshot, served.ready().address)
        ask(envoy, model)
        until(lambda: served.metric('feature_store_hit_ratio{api="kserve"}'))
        until(lambda: served.metric("answer_tokens_sum") == 120)
        assert served.metric('feature_store_hit_ratio{api="kserve"}') == 0.75
        assert served.metric('feature_cache_hit_ratio{model_name="*"}') == 0.6
        assert 120 / 61 < served.metric(RATE) < 120 / 54
        assert served.metric("model_seconds_total") == 0.75
        assert served.metric('answer_tokens_bucket{le="10.0"}') == 1
        assert served.metric("answer_tokens_sum") == 120
        (described,) = served.config()["policies"]
        assert described["observability"]["customMetrics"][0]["per"] == "second"


@pytest.fixture
def team(policy: Path, tmp_path: Path) -> Iterator[ServedWorkers]:
    with ExitStack() as stack:
        yield stack.enter_context(ServedWorkers(policy, 2, "--drain", "0", listen=f"unix://{tmp_path}/p.sock")).ready()


def test_two_workers_are_as_one(
    team: ServedWorkers, policy: Path, model: ModelServer, gateway: Callable[..., Gateway]
) -> None:
    addresses = [address for worker in team.workers() for address in worker["listen"]]
    envoy = gateway(loader.load([policy]).snapshot, *addresses)
    for _ in range(4):
        ask(envoy, model)
    until(lambda: team.metric("model_seconds_total") == 3.0)
    until(lambda: team.metric("answer_tokens_sum") == 480)
    until(lambda: team.metric('feature_store_hit_ratio{api="kserve"}'))
    assert team.metric('feature_cache_hit_ratio{model_name="*"}') == 0.6
    assert team.metric('feature_store_hit_ratio{api="kserve"}') == 0.75
    assert 480 / 61 < team.metric(RATE) < 480 / 54

"""What is counted of a pipeline, and by which names."""

from __future__ import annotations

import json

from extproc.demo.pipeline.evidence import counted
from extproc.demo.pipeline.stages import CLASSIFIER, GATEWAY, HOSTED, LLM, PREPROCESS, PROCESSOR, ROUTER, STAGES
from tests.unit.demo.pipeline.scene import ASSISTANT, ELSEWHERE, TARGETS, good_run

METRICS = """\
# TYPE inference_requests counter
inference_requests_total{model="llama-3-8b",version="v3",gpu_pool="a100-west",code="200"} 3
inference_requests_total{model="llama-3-8b",version="v3",gpu_pool="a100-west",code="500"} 1
inference_requests_total{model="iris",version="v1",gpu_pool="t4-edge",code="200"} 2
inference_requests_total{model="other",version="other",gpu_pool="other",code="200"} 7
# TYPE inference_tokens counter
inference_tokens_total{model="llama-3-8b",version="v3",gpu_pool="a100-west",type="input"} 10
inference_tokens_total{model="llama-3-8b",version="v3",gpu_pool="a100-west",type="output"} 20
"""


def test_counts_by_service() -> None:
    stats = {
        "http.gateway.downstream_rq_completed": 9,
        "http.aimesh.downstream_rq_completed": 8,
        "http.preprocess.downstream_rq_completed": 7,
        "http.admin.downstream_rq_completed": 1000,
        f"cluster.{ELSEWHERE.cluster}.upstream_rq_completed": 6,
        f"cluster.{ASSISTANT.cluster}.upstream_rq_completed": 5,
    }
    raw = json.dumps(
        {"stats": [{"name": name, "value": value} for name, value in stats.items()] + [{"histograms": {}}]}
    )
    found = counted([*TARGETS.values()], raw.encode(), METRICS)
    assert {name: count for name, count in found.envoy.items() if count} == {
        GATEWAY: 9,
        ROUTER: 8,
        PREPROCESS: 7,
        HOSTED: 6,
    }
    assert found.processor == {LLM: 4, CLASSIFIER: 2, ROUTER: 6}
    assert found.tokens == {LLM: (10, 20), CLASSIFIER: (0, 0), HOSTED: (0, 0)}


def test_hops_in_the_order_of_the_stages_without_the_observer() -> None:
    evidence = good_run()
    callees = [hop.callee for hop in evidence.hops]
    assert [*dict.fromkeys(callees)] == [*STAGES, PROCESSOR]
    assert callees.count(PROCESSOR) == len(evidence.answers), "decisions, and nothing that watches answers"
    assert len(evidence.served(HOSTED)) == evidence.asked()[HOSTED]


def test_routing_headers_that_a_model_must_get() -> None:
    evidence = good_run()
    assert evidence.routing(LLM) == {
        "x-model-name": ("llama-3-8b",),
        "x-model-version": ("v3",),
        "x-gpu-pool": ("a100-west",),
        "x-gpu-architecture": ("a100",),
    }
    assert evidence.routing(HOSTED).keys() == {"x-model-name", "x-model-version"}

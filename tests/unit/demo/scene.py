"""Evidence of a run in which all went right, made without one: what tests plant their faults in."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import msgspec
import numpy as np

from extproc import demo, headers
from extproc.demo.evidence import Counters, Evidence, PolicyTarget
from extproc.demo.records import ReceivedRequest, Usage
from extproc.demo.traffic import TESTER, UNMATCHED, Answer, plan

V1 = PolicyTarget("llama-3-8b", "v1", "a100-west", "a100", 0.9, "llama-3-8b", ("127.0.0.1:9001",), "chat/v1/a100-west")
V2 = PolicyTarget(
    "llama-3-8b", "v2", "h100-east", "h100", 0.1, "llama-3-8b-instruct", ("127.0.0.1:9002",), "chat/v2/h100-east"
)
IRIS = PolicyTarget("iris", "v1", "t4-edge", "t4", 1.0, "iris", ("127.0.0.1:9003",), "classifier/v1/t4-edge")
TARGETS = (V1, V2, IRIS)
POLICY = Path(demo.__file__).with_name("policy.yaml")


def good_run(requests: int = 400, seed: int = 1) -> Evidence:
    """What a run leaves behind if every part does what it should."""
    random = np.random.default_rng(seed)
    asks = plan(requests, seed)
    everyone = sorted({a.user for a in asks})
    canary = set(random.choice(everyone, size=len(everyone) // 10, replace=False))
    answers, received, spent = [], [], []
    for request in asks:
        seconds = float(random.uniform(0.05, 0.15))
        if request.role == UNMATCHED:
            answers.append(Answer(request, 404, seconds, error="no such model"))
            received.append(ReceivedRequest(V1.endpoints[0], request.id, "/", request.model, request.user, {}))
            continue
        target = IRIS if request.model == "iris" else V2 if request.role == TESTER or request.user in canary else V1
        told = {
            headers.MODEL_NAME: target.model,
            headers.MODEL_VERSION: target.version,
            headers.GPU_POOL: target.pool,
            "server-timing": "route;dur=2, upstream;dur=30, total;dur=32",
        }
        first = seconds / 2 if request.kind == "chat_stream" else None
        if target is not IRIS:
            output = 0 if request.kind == "embeddings" else 19
            spent.append(Usage(request.id, 7, output, None if first is None else first - 0.008))
        answers.append(Answer(request, 200, seconds, first, told))
        names = (headers.MODEL_NAME, headers.MODEL_VERSION, headers.GPU_POOL, headers.GPU_ARCHITECTURE)
        routing = dict(
            zip(names, ([target.model], [target.version], [target.pool], [target.architecture]), strict=True)
        )
        received.append(
            ReceivedRequest(target.endpoints[0], request.id, "/", target.upstream_model, request.user, routing)
        )
    evidence = Evidence(TARGETS, answers, received, Counters(), spent)
    counts = Counter(found.cluster for a in answers if (found := evidence.target_of(a)))
    unmatched = len(evidence.answers_to(UNMATCHED))
    envoy = counts + Counter({V1.cluster: unmatched})
    cluster = {a.request.id: found.cluster for a in answers if (found := evidence.target_of(a))}
    first_tokens: dict[str, tuple[int, float]] = {}
    tokens: dict[str, tuple[int, int]] = {}
    for one in spent:
        name = cluster[one.request_id]
        asked, answered = tokens.get(name, (0, 0))
        tokens[name] = asked + one.input_tokens, answered + one.output_tokens
        if one.first_token is not None:
            streams, total = first_tokens.get(name, (0, 0.0))
            first_tokens[name] = streams + 1, total + one.first_token + 0.005
    return msgspec.structs.replace(evidence, counters=Counters(envoy, counts, unmatched, first_tokens, tokens))

"""Evidence of a run in which all went right, made without one: what tests plant their faults in."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import msgspec
import numpy as np

from extproc import demo, headers
from extproc.demo.evidence import Arm, Counters, Evidence
from extproc.demo.records import Received, Spent
from extproc.demo.traffic import STRANGER, TESTER, Answer, plan

V1 = Arm("llama-3-8b", "v1", "a100-west", "a100", 0.9, "llama-3-8b", ("127.0.0.1:9001",), "chat/v1/a100-west")
V2 = Arm("llama-3-8b", "v2", "h100-east", "h100", 0.1, "llama-3-8b-instruct", ("127.0.0.1:9002",), "chat/v2/h100-east")
IRIS = Arm("iris", "v1", "t4-edge", "t4", 1.0, "iris", ("127.0.0.1:9003",), "classifier/v1/t4-edge")
ARMS = (V1, V2, IRIS)
POLICY = Path(demo.__file__).with_name("policy.yaml")


def good_run(requests: int = 400, seed: int = 1) -> Evidence:
    """What a run leaves behind if every part does what it should."""
    random = np.random.default_rng(seed)
    asks = plan(requests, seed)
    everyone = sorted({a.user for a in asks})
    canary = set(random.choice(everyone, size=len(everyone) // 10, replace=False))
    answers, received, spent = [], [], []
    for ask in asks:
        seconds = float(random.uniform(0.05, 0.15))
        if ask.role == STRANGER:
            answers.append(Answer(ask, 404, seconds, error="no such model"))
            received.append(Received(V1.endpoints[0], ask.id, "/", ask.model, ask.user, {}))
            continue
        arm = IRIS if ask.model == "iris" else V2 if ask.role == TESTER or ask.user in canary else V1
        told = {
            headers.MODEL_NAME: arm.model,
            headers.MODEL_VERSION: arm.version,
            headers.GPU_POOL: arm.pool,
            "server-timing": "route;dur=2, upstream;dur=30, total;dur=32",
        }
        first = seconds / 2 if ask.kind == "chat_stream" else None
        if arm is not IRIS:
            output = 0 if ask.kind == "embeddings" else 19
            spent.append(Spent(ask.id, 7, output, None if first is None else first - 0.008))
        answers.append(Answer(ask, 200, seconds, first, told))
        names = (headers.MODEL_NAME, headers.MODEL_VERSION, headers.GPU_POOL, headers.GPU_ARCHITECTURE)
        routing = dict(zip(names, ([arm.model], [arm.version], [arm.pool], [arm.architecture]), strict=True))
        received.append(Received(arm.endpoints[0], ask.id, "/", arm.upstream_model, ask.user, routing))
    evidence = Evidence(ARMS, answers, received, Counters(), spent)
    counts = Counter(found.cluster for a in answers if (found := evidence.arm(a)))
    strangers = len(evidence.by(STRANGER))
    envoy = counts + Counter({V1.cluster: strangers})
    cluster = {a.ask.id: found.cluster for a in answers if (found := evidence.arm(a))}
    first_tokens: dict[str, tuple[int, float]] = {}
    tokens: dict[str, tuple[int, int]] = {}
    for one in spent:
        name = cluster[one.request_id]
        asked, answered = tokens.get(name, (0, 0))
        tokens[name] = asked + one.input_tokens, answered + one.output_tokens
        if one.first_token is not None:
            streams, total = first_tokens.get(name, (0, 0.0))
            first_tokens[name] = streams + 1, total + one.first_token + 0.005
    return msgspec.structs.replace(evidence, counters=Counters(envoy, counts, strangers, first_tokens, tokens))

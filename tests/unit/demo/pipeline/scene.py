"""Evidence of a pipeline in which all went right, made without one: what tests plant their faults in."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from extproc.demo import pipeline
from extproc.demo.evidence import PolicyTarget
from extproc.demo.pipeline.evidence import ACCESS_LOG, Counted, Evidence
from extproc.demo.pipeline.stages import (
    CLASSIFIER,
    CLIENT,
    FEATURES,
    GATEWAY,
    HOSTED,
    LLM,
    POSTPROCESS,
    PREPROCESS,
    PROCESSOR,
    ROUTER,
    Arrival,
)
from extproc.demo.pipeline.traffic import MODELS, Answer, Ask, plan
from extproc.demo.records import Usage
from extproc.telemetry.spans import Span, Value

ASSISTANT = PolicyTarget(
    "llama-3-8b", "v3", "a100-west", "a100", 1.0, "llama-3-8b", ("127.0.0.1:1",), "assistant/v3/a100-west"
)
IRIS = PolicyTarget("iris", "v1", "t4-edge", "t4", 1.0, "iris", ("127.0.0.1:2",), "classifier/v1/t4-edge")
ELSEWHERE = PolicyTarget("gpt-4o-mini", "2024", "", "", 1.0, "gpt-4o-mini", ("127.0.0.1:3",), "hosted/2024")
TARGETS = {LLM: ASSISTANT, CLASSIFIER: IRIS, HOSTED: ELSEWHERE}
POLICY = Path(pipeline.__file__).with_name("policy.yaml")
KEY, TOKEN = "key-of-the-hosted-model", "token-of-the-client"
TOKENS = (16, 21)
"""Of every answer of a chat model: input and output."""
_EGRESS = "async envoy.service.ext_proc.v3.ExternalProcessor.Process egress"


def good_run(requests: int = 40, seed: int = 1) -> Evidence:
    """What a run leaves behind if every part does what it should."""
    answers, spans, arrivals, usages = [], [], [], []
    for i, ask in enumerate(plan(requests, seed)):
        start = 1_700_000_000_000_000_000 + i * 150_000_000
        answer = Answer(ask, 200, start, start + 100_000_000, 0.1, 0.05 if ask.service == LLM else None)
        answers.append(answer)
        spans += [answer.root(), *_spans(ask, start)]
        arrivals += [Arrival(name, ask.id, ask.user, {}, ()) for name in (PREPROCESS, FEATURES, POSTPROCESS)]
        key = KEY if ask.service == HOSTED else TOKEN
        routing = {name: (value,) for name, value in _routing(TARGETS[ask.service]).items()}
        arrivals.append(Arrival(ask.service, ask.id, ask.user, routing, (f"Bearer {key}",)))
        if ask.service != CLASSIFIER:
            usages.append(Usage(ask.id, *TOKENS))
    of = Counter(answer.ask.service for answer in answers)
    every = dict.fromkeys((GATEWAY, PREPROCESS, FEATURES, ROUTER, POSTPROCESS), len(answers))
    tokens = {name: (TOKENS[0] * of[name], TOKENS[1] * of[name]) for name in (LLM, HOSTED)}
    counted = Counted({**every, **of}, {**of, ROUTER: len(answers)}, tokens)
    texts = {"the spans": b"spans of all", "/metrics": b"metrics" * 300, ACCESS_LOG: b"{}\n" * len(answers)}
    return Evidence(answers, spans, arrivals, usages, counted, [*TARGETS.values()], {HOSTED: KEY, CLIENT: TOKEN}, texts)


def _routing(target: PolicyTarget) -> dict[str, str]:
    names = ("x-model-name", "x-model-version", "x-gpu-pool", "x-gpu-architecture")
    values = (target.model, target.version, target.pool, target.architecture)
    return {name: value for name, value in zip(names, values, strict=True) if value}


def _spans(ask: Ask, start: int) -> list[Span]:
    """All but the client's. Times in tenths of milliseconds since ``start``."""
    found: list[Span] = []

    def add(above: str, service: str, kind: str, begin: int, end: int, name: str = "", **told: Value) -> str:
        id_ = f"{ask.span[:12]}{len(found):04x}"
        times = (start + begin * 100_000, start + end * 100_000)
        found.append(
            Span(ask.trace, id_, above, service, name or {"server": "ingress"}.get(kind, "egress"), kind, *times, told)
        )
        return id_

    def call(above: str, service: str, begin: int, end: int) -> str:
        return add(add(above, PREPROCESS, "client", begin, end), service, "server", begin + 5, end - 5)

    target = TARGETS[ask.service]
    decided = {"aimesh.version": target.version} | ({"aimesh.gpu_pool": target.pool} if target.pool else {})
    inside = add(
        add(add(ask.span, GATEWAY, "server", 10, 989), GATEWAY, "client", 12, 988), PREPROCESS, "server", 15, 985
    )
    call(inside, FEATURES, 30, 80)
    router = call(inside, ROUTER, 100, 800)
    add(router, ROUTER, "client", 110, 130, _EGRESS, upstream_cluster=PROCESSOR)
    watched = add(router, ROUTER, "client", 140, 810, _EGRESS, upstream_cluster=PROCESSOR)
    model = MODELS[ask.service]
    genai: dict[str, Value] = {"gen_ai.operation.name": "chat", "gen_ai.request.model": model, **decided}
    genai["http.response.status_code"] = 200
    if ask.service != CLASSIFIER:
        genai |= {"gen_ai.usage.input_tokens": TOKENS[0], "gen_ai.usage.output_tokens": TOKENS[1]}
    if ask.service == LLM:
        genai["gen_ai.request.stream"] = True
    add(watched, PROCESSOR, "client", 120, 808, f"chat {model}", **genai)
    served = add(router, ROUTER, "client", 140, 790, upstream_cluster=target.cluster, **decided)
    if ask.service != HOSTED:
        add(served, ask.service, "server", 145, 785, **{"gen_ai.request.model": model, **decided})
    call(inside, POSTPROCESS, 400, 950)
    return found

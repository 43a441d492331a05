"""The pipeline's checks: pure functions over the evidence. A check with nothing to check fails."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence

from extproc.demo.checks import Check, judge
from extproc.demo.pipeline.evidence import ACCESS_LOG, Evidence
from extproc.demo.pipeline.expected_trace import (
    beside,
    expected_paths,
    on_the_way,
    outside_of_parents,
    paths,
    times_alone,
)
from extproc.demo.pipeline.jaeger import Stored
from extproc.demo.pipeline.stages import CLASSIFIER, GATEWAY, HOSTED, LLM, PROCESSOR, ROUTER, SIDECARS, STAGES
from extproc.demo.pipeline.traffic import FORGED, MODELS, Answer
from extproc.telemetry.spans import Span

RESOLUTION = 1_000_000
"""Nanoseconds by which one clock, read in two processes, may seem to run backwards: it is adjusted meanwhile."""
_STOPWATCH = 2_000_000
"""Nanoseconds between the client's two clocks over one request."""


def verify(evidence: Evidence) -> list[Check]:
    """Every claim of the demo."""
    return [*(check(evidence) for check in CHECKS), *([in_jaeger(evidence)] if evidence.jaeger is not None else [])]


def settled(evidence: Evidence) -> bool:
    """Whether every span and every count has come."""
    return _whole(evidence).ok and _counts(evidence).ok


def _answers(evidence: Evidence) -> Check:
    """Every request gets the answer that it asked for, by way of postprocessing."""
    faults = [f"{a.ask.id} for {a.ask.service} got {a.status} {a.error}" for a in evidence.answers if a.error]
    fine = f"{len(evidence.answers)} answers, each whole, masked or labelled as it should be"
    return judge("no errors", len(evidence.answers), faults, fine)


def _whole(evidence: Evidence) -> Check:
    """Each request is one trace, which has every span that it should have, each below the right one, and no other."""
    expected = {service: expected_paths(service) for service in MODELS}
    faults = []
    for answer in evidence.answers:
        missing, more = _difference(expected[answer.ask.service], paths(evidence.trace_of(answer)))
        if (missing or more) and answer.ask.trace not in evidence.unwatched:
            faults.append(f"{answer.ask.id} lacks {_last(missing)}, has {_last(more)}")
    strays = evidence.traces.keys() - {answer.ask.trace for answer in evidence.answers}
    faults += [f"trace {id_} is no request's" for id_ in strays]
    count = sum(map(len, evidence.traces.values()))
    fine = f"{len(evidence.answers)} requests, each one trace from the client to its model: {count} spans"
    if shed := len(evidence.unwatched):
        fine += f"; {shed} without the processor's, which says that it could not keep up"
    return judge("traces whole", len(evidence.answers), faults, fine)


def _difference(
    expected: Sequence[tuple[tuple[str, str], ...]], found: Sequence[tuple[tuple[str, str], ...]]
) -> tuple[list[tuple[tuple[str, str], ...]], list[tuple[tuple[str, str], ...]]]:
    wanted, there = Counter(expected), Counter(found)
    return [*(wanted - there).elements()], [*(there - wanted).elements()]


def _last(found: Sequence[tuple[tuple[str, str], ...]]) -> str:
    """The first of these paths in words: its last two roles."""
    return " of ".join(" ".join(role) for role in reversed(found[0][-2:])) if found else "nothing else"


def _within(evidence: Evidence) -> Check:
    """No span that a client waits for begins before its parent or ends after it."""
    spans = [on_the_way(evidence.trace_of(answer)) for answer in evidence.answers]
    faults = [
        f"{span.service} {span.name} is {beyond / 1e6:.1f} ms outside of its parent"
        for each in spans
        for span, beyond in outside_of_parents(each)
        if beyond > RESOLUTION
    ]
    count = sum(map(len, spans))
    aside = sum(len(beside(evidence.trace_of(answer))) for answer in evidence.answers)
    fine = f"{count} spans, each within its parent; {aside} of the observer's that nobody waits for are left out"
    return judge("spans within parents", count, faults, fine)


def _sums(evidence: Evidence) -> Check:
    """What each span takes by itself adds up to what the client's stopwatch says."""
    faults, beyond = [], 0.0
    for answer in evidence.answers:
        total = sum(times_alone(on_the_way(evidence.trace_of(answer))).values())
        apart = abs(total - answer.seconds * 1e9)
        beyond = max(beyond, apart)
        if apart > _STOPWATCH:
            faults.append(f"{answer.ask.id}: the hops took {total / 1e6:.1f} ms, the client {answer.seconds * 1e3:.1f}")
    fine = f"the hops' latencies add up to what the client waited, within {beyond / 1e6:.2f} ms for every request"
    return judge("hops sum up", len(evidence.answers), faults, fine)


def _genai(evidence: Evidence) -> Check:
    """The processor's span tells the model, and the tokens that the model server spent; the model's own sidecar tells
    model, version and pool as decided.
    """
    usage = {one.request_id: one for one in evidence.usages}
    faults = []
    for answer in evidence.watched:
        trace, service = evidence.trace_of(answer), answer.ask.service
        target = evidence.target(service)
        ours = [span for span in trace if span.service == PROCESSOR]
        due: dict[str, object] = {
            "gen_ai.request.model": target.model,
            "aimesh.version": target.version,
            "http.response.status_code": answer.status,
        }
        if service != CLASSIFIER:
            spent = usage.get(answer.ask.id)
            due["gen_ai.usage.input_tokens"] = spent and spent.input_tokens
            due["gen_ai.usage.output_tokens"] = spent and spent.output_tokens
        if service == LLM:
            due["gen_ai.request.stream"] = True
        faults += [f"{answer.ask.id}: {_untold(span, due)}" for span in ours if _untold(span, due)]
        told = {"gen_ai.request.model": target.model, "aimesh.version": target.version, "aimesh.gpu_pool": target.pool}
        faults += [
            f"{answer.ask.id}: at the model {_untold(span, told)}"
            for span in trace
            if span.service in (LLM, CLASSIFIER) and _untold(span, told)
        ]
        faults += [] if ours else [f"{answer.ask.id} has no span of the processor's"]
    tokens = sum(one.input_tokens + one.output_tokens for one in evidence.usages)
    fine = f"model, version, pool and {tokens} tokens in the spans, as the models had them"
    return judge("GenAI attributes", len(evidence.answers), faults, fine)


def _untold(span: Span, due: Mapping[str, object]) -> str:
    wrong = [f"{key} is {span.attributes.get(key)!r}, not {value!r}" for key, value in due.items()]
    return next((text for text, key in zip(wrong, due, strict=True) if span.attributes.get(key) != due[key]), "")


def _counts(evidence: Evidence) -> Check:
    """Client, services, Envoy, processor and spans count the same for every service."""
    asked = evidence.asked()
    arrived = Counter(one.service for one in evidence.arrivals)
    faults = []
    for name in STAGES:
        counts = {"client": asked[name], "Envoy": evidence.counted.envoy.get(name, 0)}
        counts["spans"] = len(evidence.served(name))
        if name in SIDECARS or name == HOSTED:
            counts["service"] = arrived[name]
        if name in (ROUTER, *MODELS):
            counts["processor"] = evidence.counted.processor.get(name, 0)
        if name == ROUTER:
            counts["access log"] = evidence.texts.get(ACCESS_LOG, b"").count(b"\n")
        if len(set(counts.values())) > 1:
            faults.append(f"{name}: {', '.join(f'{who} {count}' for who, count in counts.items())}")
    faults += _tokens(evidence)
    fine = ", ".join(f"{name} {asked[name]}" for name in (GATEWAY, *MODELS))
    return judge("counts agree", len(evidence.answers), faults, f"client, services, Envoy, processor, spans: {fine}")


def _tokens(evidence: Evidence) -> list[str]:
    service = {answer.ask.id: answer.ask.service for answer in evidence.watched}
    spent: dict[str, tuple[int, int]] = defaultdict(lambda: (0, 0))
    for one in evidence.usages:
        if name := service.get(one.request_id):
            spent[name] = (spent[name][0] + one.input_tokens, spent[name][1] + one.output_tokens)
    return [
        f"{name}: the model spent {spent[name]} tokens, the processor counts {found}"
        for name in MODELS
        if (found := evidence.counted.tokens.get(name, (0, 0))) != spent[name]
    ]


def _forged(evidence: Evidence) -> Check:
    """What a client says of routing reaches no model, comes back to nobody, and stands in no span or metric: each
    model gets what the processor decided, each header once.
    """
    forgers = [answer for answer in evidence.answers if answer.ask.forges]
    models = [one for one in evidence.arrivals if one.service in MODELS]
    faults = [
        f"{one.request_id} reached {one.service} with {dict(one.routing)}"
        for one in models
        if one.routing != evidence.routing(one.service)
    ]
    faults += [f"{who} tells {FORGED}" for who, text in evidence.texts.items() if FORGED.encode() in text]
    faults += [f"{a.ask.id} was told {dict(a.headers)}" for a in evidence.answers if _tells(a, FORGED)]
    fine = f"{len(forgers)} requests with forged headers, none believed or told on"
    return judge("forged headers", len(forgers) and len(models), faults, fine)


def _secrets(evidence: Evidence) -> Check:
    """The hosted model's key reaches that model and nobody else; there is no client's key with it; neither of the two
    stands in a span, a metric, a log or an answer.
    """
    key = evidence.secrets[HOSTED]
    hosted = [one for one in evidence.arrivals if one.service == HOSTED]
    faults = [f"{one.request_id} came with {len(one.keys)} keys" for one in hosted if one.keys != (f"Bearer {key}",)]
    faults += [
        f"{one.service} got the key of the hosted model"
        for one in evidence.arrivals
        if one.service != HOSTED and any(key in sent for sent in one.keys)
    ]
    for name, secret in evidence.secrets.items():
        faults += [f"{who} tells the key of {name}" for who, text in evidence.texts.items() if secret.encode() in text]
        faults += [f"{a.ask.id} was told the key of {name}" for a in evidence.answers if _tells(a, secret)]
    size = sum(map(len, evidence.texts.values()))
    fine = f"{len(hosted)} requests with the hosted model's key alone; none in {size >> 10} KiB of spans, metrics, logs"
    return judge("credentials", len(hosted) and size, faults, fine)


def in_jaeger(evidence: Evidence) -> Check:
    """A real Jaeger has each trace with the same spans below the same ones, and draws who calls whom as they do."""
    stored = evidence.jaeger or Stored()
    faults, calls = [], set()
    for answer in evidence.answers:
        trace = evidence.trace_of(answer)
        service = {span.id: span.service for span in trace}
        told = {(span.id, span.parent, span.service) for span in trace}
        calls |= {(service[s.parent], s.service) for s in trace if service.get(s.parent, s.service) != s.service}
        if apart := told ^ stored.links.get(answer.ask.trace, frozenset()):
            faults.append(f"{answer.ask.id} differs by {len(apart)} spans")
    faults += [f"its graph differs by {' calls '.join(pair)}" for pair in sorted(calls ^ stored.graph)]
    fine = f"{len(evidence.answers)} traces with the same spans, a service graph of {len(calls)} edges as it should be"
    return judge("in Jaeger", len(evidence.answers), faults, fine)


def _tells(answer: Answer, needle: str) -> bool:
    return any(needle in value for value in answer.headers.values())


CHECKS: Sequence[Callable[[Evidence], Check]] = (
    _answers,
    _whole,
    _within,
    _sums,
    _genai,
    _counts,
    _forged,
    _secrets,
)

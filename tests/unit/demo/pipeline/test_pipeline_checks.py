"""Every check holds over a good run and fails when its fault is planted, and only then."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from msgspec.structs import replace

from extproc.demo.pipeline.checks import settled, verify
from extproc.demo.pipeline.evidence import ACCESS_LOG, Counted, Evidence
from extproc.demo.pipeline.jaeger import Stored
from extproc.demo.pipeline.stages import (
    CLASSIFIER,
    FEATURES,
    GATEWAY,
    HOSTED,
    LLM,
    POSTPROCESS,
    PREPROCESS,
    PROCESSOR,
    ROUTER,
)
from extproc.telemetry.spans import Span
from tests.unit.demo.pipeline.scene import KEY, TOKEN, good_run

Fault = Callable[[Evidence], Evidence]
MS = 1_000_000


def failing(evidence: Evidence) -> set[str]:
    return {check.name for check in verify(evidence) if not check.ok}


def spans(which: Callable[[Span], bool], change: Callable[[Span], list[Span]]) -> Fault:
    """``change``s the first span that is meant."""

    def plant(evidence: Evidence) -> Evidence:
        at = next(i for i, span in enumerate(evidence.spans) if which(span))
        return replace(evidence, spans=[*evidence.spans[:at], *change(evidence.spans[at]), *evidence.spans[at + 1 :]])

    return plant


def of(service: str, kind: str = "server") -> Callable[[Span], bool]:
    return lambda span: (span.service, span.kind) == (service, kind)


def lost(_: Span) -> list[Span]:
    return []


def changed(**changes: Any) -> Callable[[Span], list[Span]]:
    return lambda span: [replace(span, **changes)]


def told(**attributes: Any) -> Callable[[Span], list[Span]]:
    named = {name.replace("__", "."): value for name, value in attributes.items()}
    return lambda span: [replace(span, attributes={**span.attributes, **named})]


def answered(**changes: Any) -> Fault:
    return lambda e: replace(e, answers=[replace(e.answers[0], **changes), *e.answers[1:]])


def arrived(service: str, **changes: Any) -> Fault:
    def plant(evidence: Evidence) -> Evidence:
        at = next(i for i, one in enumerate(evidence.arrivals) if one.service == service)
        found = [*evidence.arrivals]
        found[at] = replace(found[at], **changes)
        return replace(evidence, arrivals=found)

    return plant


def counted(**changes: Callable[[dict[str, Any]], dict[str, Any]]) -> Fault:
    def plant(evidence: Evidence) -> Evidence:
        fresh = {name: change(dict(getattr(evidence.counted, name))) for name, change in changes.items()}
        return replace(evidence, counted=replace(evidence.counted, **fresh))

    return plant


def said(who: str, text: str) -> Fault:
    return lambda e: replace(e, texts={**e.texts, who: e.texts[who] + text.encode()})


def one_trace_for_two(evidence: Evidence) -> Evidence:
    """The second request's spans below the first one's trace."""
    first, second = (answer.ask.trace for answer in evidence.answers[:2])
    return replace(evidence, spans=[replace(s, trace=first) if s.trace == second else s for s in evidence.spans])


def test_a_good_run_passes() -> None:
    for check in verify(good_run()):
        assert check.ok, f"{check.name}: {check.detail}"
    assert settled(good_run())


@pytest.mark.parametrize("requests", [1, 200])
def test_a_good_run_of_another_size_passes(requests: int) -> None:
    assert failing(good_run(requests)) == set()


def test_what_has_not_come_yet_is_waited_for() -> None:
    evidence = good_run()
    assert not settled(replace(evidence, spans=evidence.spans[:-1]))
    assert not settled(replace(evidence, counted=Counted()))


FAULTS: dict[str, tuple[Fault, str]] = {
    "an answer that is none": (answered(error="no healthy upstream"), "no errors"),
    "a span lost": (spans(of(FEATURES), lost), "traces whole"),
    "the model's span lost": (spans(of(LLM), lost), "traces whole"),
    "the processor's span lost": (spans(of(PROCESSOR, "client"), lost), "traces whole"),
    "the client's span lost": (spans(of("client", "client"), lost), "traces whole"),
    "a span twice, under two ids": (
        spans(of(POSTPROCESS), lambda span: [span, replace(span, id="ab" * 8)]),
        "traces whole",
    ),
    "a child of nobody": (spans(of(ROUTER), changed(parent="ab" * 8)), "traces whole"),
    "a trace begun anew on the way": (spans(of(PREPROCESS), changed(trace="cd" * 16, parent="")), "traces whole"),
    "the processor's span below the wrong one": (
        lambda e: spans(of(PROCESSOR, "client"), changed(parent=next(filter(of(GATEWAY), e.spans)).id))(e),
        "traces whole",
    ),
    "under another service's name": (spans(of(CLASSIFIER), changed(service=LLM)), "traces whole"),
    "two requests in one trace": (one_trace_for_two, "traces whole"),
    "a trace of no request": (
        lambda e: replace(e, spans=[*e.spans, replace(e.spans[0], trace="ef" * 16)]),
        "traces whole",
    ),
    "a span that goes on after its parent": (
        spans(of(LLM), lambda span: [replace(span, end=span.end + 3 * MS)]),
        "spans within parents",
    ),
    "a span that begins before its parent": (
        spans(of(POSTPROCESS), lambda span: [replace(span, start=span.start - 3 * MS)]),
        "spans within parents",
    ),
    "a machine with another time": (
        lambda e: replace(
            e,
            spans=[
                replace(s, start=s.start + 900 * MS, end=s.end + 900 * MS) if s.service == FEATURES else s
                for s in e.spans
            ],
        ),
        "spans within parents",
    ),
    "a stopwatch that says more": (answered(seconds=0.103), "hops sum up"),
    "hops that take longer than the client waited": (
        spans(of(GATEWAY), lambda span: [replace(span, end=span.end + 20 * MS)]),
        "hops sum up",
    ),
    "another model told": (spans(of(PROCESSOR, "client"), told(gen_ai__request__model="gpt")), "GenAI attributes"),
    "a token too many": (
        spans(lambda s: "gen_ai.usage.output_tokens" in s.attributes, told(gen_ai__usage__output_tokens=22)),
        "GenAI attributes",
    ),
    "a stream not told": (
        spans(lambda s: "gen_ai.request.stream" in s.attributes, told(gen_ai__request__stream=False)),
        "GenAI attributes",
    ),
    "no version at the model": (spans(of(LLM), told(aimesh__version="")), "GenAI attributes"),
    "another pool at the model": (spans(of(CLASSIFIER), told(aimesh__gpu_pool="a100-west")), "GenAI attributes"),
    "Envoy counts one more": (counted(envoy=lambda c: c | {FEATURES: c[FEATURES] + 1}), "counts agree"),
    "the processor counts one less": (counted(processor=lambda c: c | {LLM: c[LLM] - 1}), "counts agree"),
    "the hosted model is not counted": (counted(envoy=lambda c: c | {HOSTED: 0}), "counts agree"),
    "the access log has one more": (said(ACCESS_LOG, "{}\n"), "counts agree"),
    "tokens not counted": (counted(tokens=lambda _: {}), "counts agree"),
    "a service that was not asked": (
        lambda e: replace(e, arrivals=[one for one in e.arrivals if one is not e.arrivals[0]]),
        "counts agree",
    ),
    "a request served twice": (lambda e: replace(e, arrivals=[*e.arrivals, e.arrivals[-1]]), "counts agree"),
    "a forged header believed": (arrived(LLM, routing={"x-model-name": ("forged-x-model-name",)}), "forged headers"),
    "a forged header beside the right ones": (
        lambda e: arrived(LLM, routing={**e.routing(LLM), "x-gateway-destination-endpoint": ("forged",)})(e),
        "forged headers",
    ),
    "a forged header in a span": (said("the spans", "forged-x-gpu-pool"), "forged headers"),
    "a forged header told to the client": (answered(headers={"x-gpu-pool": "forged-x-gpu-pool"}), "forged headers"),
    "nobody forges": (
        lambda e: replace(e, answers=[replace(a, ask=replace(a.ask, forges=False)) for a in e.answers]),
        "forged headers",
    ),
    "no key for the hosted model": (arrived(HOSTED, keys=()), "credentials"),
    "the client's key for the hosted model": (arrived(HOSTED, keys=(f"Bearer {TOKEN}",)), "credentials"),
    "both keys for the hosted model": (arrived(HOSTED, keys=(f"Bearer {TOKEN}", f"Bearer {KEY}")), "credentials"),
    "the hosted model's key for another": (arrived(LLM, keys=(f"Bearer {KEY}",)), "credentials"),
    "the hosted model's key in a span": (said("the spans", KEY), "credentials"),
    "the client's key in a metric": (said("/metrics", TOKEN), "credentials"),
    "a key told to the client": (answered(headers={"authorization": KEY}), "credentials"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_planted_fault_fails_its_check(fault: str) -> None:
    plant, check = FAULTS[fault]
    found = failing(plant(good_run()))
    assert check in found
    if check in ("no errors", "GenAI attributes", "credentials"):
        assert found == {check}, "a fault of its own does not look like others"


def test_nothing_at_all_passes_nothing() -> None:
    evidence = good_run()
    empty = replace(evidence, answers=[], spans=[], arrivals=[], usages=[], counted=Counted(), texts={})
    checks = verify(empty)
    assert checks
    assert not any(check.ok for check in checks)


def test_every_check_has_a_fault() -> None:
    assert {check for _, check in FAULTS.values()} == {check.name for check in verify(good_run())}


def test_a_busy_machine_breaks_nothing() -> None:
    """The observer's spans, for which nobody waits, may end a second after the request."""
    evidence = good_run()
    late = 1000 * MS

    def is_beside(span: Span) -> bool:
        return span.service == PROCESSOR or ("ext_proc" in span.name and span.end - span.start > 5 * MS)

    slow = [
        replace(s, end=s.end + late)
        if s.service == PROCESSOR or ("ext_proc" in s.name and s.end - s.start > 5 * MS)
        else s
        for s in evidence.spans
    ]
    assert failing(replace(evidence, spans=slow)) == set()


def shed(evidence: Evidence, told: int) -> Evidence:
    """A chat whose answer the processor did not watch to its end, and ``told``, how many it says there were."""
    (answer, *_) = (one for one in evidence.answers if one.ask.service == LLM)
    (usage,) = (one for one in evidence.usages if one.request_id == answer.ask.id)
    left = [s for s in evidence.spans if s.trace != answer.ask.trace or s.service != PROCESSOR]
    slow = [replace(s, end=s.end + 1000 * MS) if "ext_proc" in s.name and s.end - s.start > 5 * MS else s for s in left]
    given, output = evidence.counted.tokens[LLM]
    tokens = {**evidence.counted.tokens, LLM: (given - usage.input_tokens, output - usage.output_tokens)}
    return replace(evidence, spans=slow, counted=replace(evidence.counted, tokens=tokens, shed=told))


def test_what_the_processor_says_it_has_shed_is_no_fault_and_no_more_than_that() -> None:
    evidence = shed(good_run(), 1)
    assert failing(evidence) == set()
    assert settled(evidence)
    assert {"traces whole", "GenAI attributes", "counts agree"} <= failing(shed(good_run(), 0))
    (whole,) = [check for check in verify(evidence) if check.name == "traces whole"]
    assert "1 without the processor's" in whole.detail


def test_what_is_said_names_the_service() -> None:
    broken = spans(of(FEATURES), lost)(good_run())
    (whole,) = [check for check in verify(broken) if check.name == "traces whole"]
    assert "feature-store server of preprocess client" in whole.detail


def with_jaeger(evidence: Evidence) -> Evidence:
    """As a real Jaeger tells of a good run."""
    links = {id_: frozenset((s.id, s.parent, s.service) for s in trace) for id_, trace in evidence.traces.items()}
    service = {span.id: span.service for span in evidence.spans}
    calls = {(service[s.parent], s.service) for s in evidence.spans if service.get(s.parent, s.service) != s.service}
    return replace(evidence, jaeger=Stored(links, frozenset(calls)))


def stored(**changes: Callable[[Any], Any]) -> Fault:
    def plant(evidence: Evidence) -> Evidence:
        assert evidence.jaeger is not None
        fresh = {name: change(getattr(evidence.jaeger, name)) for name, change in changes.items()}
        return replace(evidence, jaeger=replace(evidence.jaeger, **fresh))

    return plant


def test_with_a_jaeger_there_is_one_check_more() -> None:
    checks = verify(with_jaeger(good_run()))
    assert (checks[-1].name, checks[-1].ok) == ("in Jaeger", True)
    assert "a service graph of 8 edges" in checks[-1].detail


@pytest.mark.parametrize(
    "fault",
    [
        stored(links=lambda _: {}),
        stored(links=lambda links: {id_: frozenset([*found][1:]) for id_, found in links.items()}),
        stored(links=lambda links: {id_: frozenset((a, "", c) for a, _, c in found) for id_, found in links.items()}),
        stored(graph=lambda graph: graph - {("gateway", "preprocess")}),
        stored(graph=lambda graph: graph | {("llm", "feature-store")}),
    ],
)
def test_a_fault_in_jaeger_fails_its_check_alone(fault: Fault) -> None:
    assert failing(fault(with_jaeger(good_run()))) == {"in Jaeger"}

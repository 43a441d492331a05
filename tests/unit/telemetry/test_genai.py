"""An observed exchange in OpenTelemetry's words."""

from __future__ import annotations

from typing import Any

import pytest

from extproc import apis
from extproc.exchange.notes import Observed, ObservedPick
from extproc.telemetry import genai


def observed(**changes: Any) -> Observed:
    fields: dict[str, Any] = {
        "model": "llama-*",
        "version": "v1",
        "gpu_pool": "none",
        "api": "openai",
        "code": "200",
        "seconds": 1.5,
        "asked": "llama-3-8b",
        "operation": "chat.completions",
    }
    return Observed(**fields | changes)


def test_a_server_that_was_picked() -> None:
    pick = ObservedPick("prefix", "10.0.0.1:80", "10.0.0.2:80", "fallback")
    found = genai.attributes(observed(pick=pick))
    assert {name: value for name, value in found.items() if name.startswith("aimesh.picking.")} == {
        "aimesh.picking.by": "prefix",
        "aimesh.picking.endpoint": "10.0.0.1:80",
        "aimesh.picking.served": "10.0.0.2:80",
        "aimesh.picking.outcome": "fallback",
    }
    unknown = genai.attributes(observed(pick=ObservedPick("prefix", "10.0.0.1:80", "", "")))
    assert {"aimesh.picking.served", "aimesh.picking.outcome"}.isdisjoint(unknown)


def test_a_stream_of_tokens() -> None:
    found = observed(
        policy="chat",
        cohort="sticky",
        caller="shop",
        gpu_pool="west",
        streamed=True,
        first_token=0.25,
        per_token=0.01,
        input_tokens=90,
        output_tokens=40,
        cached_tokens=64,
    )
    assert genai.span_name(found) == "chat llama-3-8b"
    assert not genai.is_failed_span(found)
    assert genai.attributes(found) == {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "openai",
        "gen_ai.request.model": "llama-3-8b",
        "gen_ai.request.stream": True,
        "gen_ai.usage.input_tokens": 90,
        "gen_ai.usage.output_tokens": 40,
        "gen_ai.usage.cache_read.input_tokens": 64,
        "http.response.status_code": 200,
        "aimesh.api": "openai",
        "aimesh.policy": "chat",
        "aimesh.version": "v1",
        "aimesh.gpu_pool": "west",
        "aimesh.cohort": "sticky",
        "aimesh.caller": "shop",
        "aimesh.time_to_first_token": 0.25,
        "aimesh.time_per_output_token": 0.01,
    }


def test_what_is_not_known_is_left_out_and_an_estimate_is_no_usage() -> None:
    found = observed(version="none", output_tokens=12, estimated=True, input_tokens=0, operation="")
    assert genai.attributes(found) == {
        "gen_ai.operation.name": "inference",
        "gen_ai.provider.name": "openai",
        "gen_ai.request.model": "llama-3-8b",
        "gen_ai.usage.input_tokens": 0,
        "http.response.status_code": 200,
        "aimesh.api": "openai",
        "aimesh.output_tokens_estimated": 12,
    }
    assert genai.span_name(observed(model="other", asked="", operation="infer")) == "infer"


@pytest.mark.parametrize(
    ("code", "error", "kind", "failed"),
    [
        ("200", "", "", False),
        ("404", "", "404", True),
        ("503", "cut_short", "503", True),
        ("200", "error_in_stream", "error_in_stream", True),
        ("200", "cut_short", "cut_short", True),
        ("200", "upstream_broke_off", "upstream_broke_off", True),
        ("200", "upstream_stalled", "upstream_stalled", True),
        ("200", "no_answer", "no_answer", True),
        ("503", "upstream_unreachable", "503", True),
        ("0", "client_left", "client_left", False),
        ("408", "client_stalled", "408", True),
        ("200", "client_stalled", "client_stalled", False),
        ("200", "idle", "idle", False),
        ("200", "broken_off", "broken_off", False),
        ("200", "shed", "shed", False),
    ],
)
def test_errors(code: str, error: str, kind: str, failed: bool) -> None:
    found = observed(code=code, error=error)
    assert genai.error_type(found) == kind
    assert genai.is_failed_span(found) is failed
    assert genai.attributes(found).get("error.type", "") == kind


@pytest.mark.parametrize(
    ("api", "operation", "wanted"),
    [
        ("openai", "responses", ("openai", "chat")),
        ("azure", "completions", ("azure.ai.openai", "text_completion")),
        ("anthropic", "messages", ("anthropic", "chat")),
        ("vertex", "streamGenerateContent", ("gcp.vertex_ai", "generate_content")),
        ("bedrock", "converse-stream", ("aws.bedrock", "chat")),
        ("ollama", "embed", ("ollama", "embeddings")),
        ("oip", "infer", ("oip", "infer")),
    ],
)
def test_the_conventions_words_where_there_are_any(api: str, operation: str, wanted: tuple[str, str]) -> None:
    found = observed(api=api, operation=operation)
    assert (genai.provider(found), genai.operation(found)) == wanted


def test_every_word_that_is_translated_is_one_of_ours() -> None:
    assert {row.operation for row in apis.TABLE} >= {
        ours for every in genai._OPERATIONS_BY_NAME.values() for ours in every
    }


def test_no_peer_makes_up_an_operation() -> None:
    measurements = genai.Measurements()
    for n in range(100):
        measurements.note(observed(operation=f"made-up-{n}"))
    ((_, points),) = genai.collect([measurements])
    assert [labels["gen_ai.operation.name"] for labels, _ in points] == ["inference"]
    assert set(apis.NAMES) >= set(genai._PROVIDERS)


def test_only_inferences_count() -> None:
    assert genai.is_inference(observed())
    assert not genai.is_inference(observed(api="none"))
    assert not genai.is_inference(observed(api="other"))


def test_what_was_not_watched_to_its_end_makes_no_span() -> None:
    assert genai.has_span(observed(), child=False)
    assert genai.has_span(observed(code="503", seconds=None), child=True), "a refusal"
    assert not genai.has_span(observed(code="503", seconds=None), child=False)
    assert not genai.has_span(observed(seconds=None), child=True)


def test_measurements() -> None:
    measured = genai.Measurements()
    assert list(genai.collect([measured])) == []
    measured.note(observed(first_token=0.25, per_token=0.02, input_tokens=10, output_tokens=3))
    measured.note(observed(seconds=0.5, output_tokens=9, estimated=True))
    measured.note(observed(code="500"))
    measured.note(observed(seconds=None, code="503"))
    found = dict(genai.collect([measured]))
    about = {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "openai",
        "gen_ai.request.model": "llama-*",
        "aimesh.version": "v1",
        "aimesh.gpu_pool": "none",
    }
    (good, failed) = found[genai.REQUEST]
    assert good[0] == about
    assert (sum(good[1].counts), good[1].sum) == (2, 2.0)
    assert failed[0] == about | {"error.type": "500"}
    assert sum(failed[1].counts) == 1
    assert [(where, h.sum) for where, h in found[genai.FIRST_TOKEN]] == [(about, 0.25)]
    assert [(where, h.sum) for where, h in found[genai.PER_TOKEN]] == [(about, 0.02)]
    tokens = {where["gen_ai.token.type"]: histogram.sum for where, histogram in found[genai.TOKENS]}
    assert tokens == {"input": 10, "output": 3}


def test_measurements_add_up() -> None:
    one, other = genai.Measurements(), genai.Measurements()
    for measurements, seconds in ((one, 1.0), (other, 2.0), (other, 4.0)):
        measurements.note(observed(seconds=seconds))
    other.note(observed(seconds=8.0, error="client_left"))
    ((instrument, points),) = genai.collect([one, other])
    sums = {attributes.get("error.type"): (sum(found.counts), found.sum) for attributes, found in points}
    assert (instrument, sums) == (genai.REQUEST, {None: (3, 7.0), "client_left": (1, 8.0)})
    ((_, ((_, histogram),)),) = genai.collect([one])
    assert histogram.sum == 1.0, "what is added up stays as it was"


def test_the_conventions_buckets() -> None:
    assert genai.REQUEST_BOUNDS[:3] == (0.01, 0.02, 0.04)
    assert genai.REQUEST_BOUNDS[-1] == pytest.approx(81.92)
    assert tuple(4.0**n for n in range(14)) == genai.TOKEN_BOUNDS


def test_what_stands_for_others_counts_for_them() -> None:
    measurements = genai.Measurements()
    measurements.note(observed(seconds=2.0, input_tokens=20, share=0.25))
    found = {instrument: [histogram for _, histogram in points] for instrument, points in genai.collect([measurements])}
    assert [sum(each.counts) for each in found[genai.TOKENS]] == [sum(each.counts) for each in found[genai.REQUEST]]
    ((tokens,), (request,)) = found[genai.TOKENS], found[genai.REQUEST]
    assert (sum(tokens.counts), tokens.sum, request.sum) == (4, 80, 8.0)


def test_a_first_token_counts_for_all_streams_whose_first_tokens_are_seen() -> None:
    measurements = genai.Measurements()
    measurements.note(observed(seconds=2.0, share=0.125, first_token=0.5, first_token_share=0.5))
    measurements.note(observed(seconds=None, first_token=0.5, first_token_share=0.5, left=True))
    counts = {instrument: sum(points[0][1].counts) for instrument, points in genai.collect([measurements])}
    assert counts == {genai.REQUEST: 8, genai.FIRST_TOKEN: 4}


def test_what_was_not_drawn_to_be_read_to_its_end_has_no_span() -> None:
    assert genai.has_span(observed(seconds=2.0), child=True)
    for told in ({"seconds": 2.0}, {"seconds": None, "code": "503"}):
        assert not genai.has_span(observed(**told, read_to_end=False), child=True)

"""What the observer is not to see: filters set states, and it is skipped by them."""

from __future__ import annotations

from extproc.render.istio.admission import (
    ADMITTED_FILTER,
    MARKING,
    SAMPLED_FILTER,
    admitted_filter,
    if_admitted,
    if_admitted_and_sampled,
    sampled_filter,
)

INNER = {"name": "aimesh.observe", "typed_config": {"@type": "type.googleapis.com/envoy.x", "a": 1}}


def test_a_filter_marks_what_it_sees() -> None:
    found = admitted_filter()
    assert found["name"] == ADMITTED_FILTER
    assert found["typed_config"]["@type"] == f"type.googleapis.com/envoy.{MARKING}"
    (mark,) = found["typed_config"]["on_request_headers"]
    assert (mark["object_key"], mark["factory_key"]) == (ADMITTED_FILTER, "envoy.string")


def test_the_other_is_skipped_where_exactly_that_mark_is_missing() -> None:
    found = if_admitted(INNER)
    assert found["name"] == "aimesh.observe"
    assert found["typed_config"]["extension_config"] is INNER
    (matcher,) = found["typed_config"]["xds_matcher"]["matcher_list"]["matchers"]
    predicate = matcher["predicate"]["not_matcher"]["single_predicate"]
    assert predicate["input"]["typed_config"]["key"] == ADMITTED_FILTER
    (mark,) = admitted_filter()["typed_config"]["on_request_headers"]
    assert predicate["value_match"]["exact"] == mark["format_string"]["text_format_source"]["inline_string"]
    action = matcher["on_match"]["action"]["typed_config"]["@type"]
    assert action == "type.googleapis.com/envoy.extensions.filters.common.matcher.action.v3.SkipFilter"


def test_what_is_left_out_of_a_sample_is_skipped_too() -> None:
    (mark,) = sampled_filter()["typed_config"]["on_request_headers"]
    source = mark["format_string"]["text_format_source"]["inline_string"]
    assert (mark["object_key"], source) == (SAMPLED_FILTER, "%DYNAMIC_METADATA(aimesh:observe)%")
    (matcher,) = if_admitted_and_sampled(INNER)["typed_config"]["xds_matcher"]["matcher_list"]["matchers"]
    not_admitted, left_out = matcher["predicate"]["or_matcher"]["predicate"]
    (alone,) = if_admitted(INNER)["typed_config"]["xds_matcher"]["matcher_list"]["matchers"]
    assert not_admitted == alone["predicate"]
    assert left_out["single_predicate"]["input"]["typed_config"]["key"] == SAMPLED_FILTER
    assert left_out["single_predicate"]["value_match"] == {"exact": "0"}

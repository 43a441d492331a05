"""Refused requests are kept from the observer: one filter marks, the other is skipped without the mark."""

from __future__ import annotations

from extproc.render.istio.admission import ADMITTED_FILTER, MARKING, admitted_filter, if_admitted

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

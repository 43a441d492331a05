"""Filters that put tags on ids of sessions, and take them off."""

from __future__ import annotations

import re2

from extproc.policy.session_tag import CALL, MCP, session_tag
from extproc.policy.target import Target
from extproc.render.envoy.sessions import session_filters, session_metadata

TARGET = Target("p", "v1", "", ("1.1.1.1:1",))


def test_what_is_appended_is_removed() -> None:
    (rule,) = session_filters()[0]["typed_config"]["request_rules"]
    rewriting = rule["on_header_present"]["regex_value_rewrite"]
    tags = session_metadata([b"new", b"old"], TARGET, "1.1.1.1:1")["aimesh.session"]
    tag = tags[MCP]
    assert tags == {kind: session_tag(b"new", kind, TARGET, "1.1.1.1:1") for kind in (MCP, CALL)}
    assert session_metadata([], TARGET, "1.1.1.1:1") == {}

    def cleaned(session: str) -> str:
        return str(re2.sub(rewriting["pattern"]["regex"], rewriting["substitution"], session))

    assert cleaned(f"a~b~{tag}") == "a~b"
    assert cleaned("a~b") == "a~b"
    assert cleaned(f"a~{tag}~{tag}") == "a"
    assert cleaned(f"a~{tag},b~{tag}") == "a,b"  # two headers


def test_only_a_call_that_is_made_has_a_tag_in_its_location() -> None:
    matcher = session_filters()[2]["typed_config"]["xds_matcher"]["matcher_list"]["matchers"][0]
    regex = matcher["predicate"]["not_matcher"]["single_predicate"]["value_match"]["safe_regex"]["regex"]
    assert re2.fullmatch(regex, "/v1/realtime/calls?model=m")
    assert re2.fullmatch(regex, "/openai/v1/realtime/calls")
    assert not re2.fullmatch(regex, "/v1/realtime/calls/rtc_1/hangup")

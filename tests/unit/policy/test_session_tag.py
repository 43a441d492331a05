"""Tags of servers: the same wherever the policies are the same, unlike for every server, found where they stand."""

from __future__ import annotations

import re

from hypothesis import assume, given
from hypothesis import strategies as st

from extproc.policy.session_tag import CALL, MCP, TAG, Place, places, server_of, session_tag, split_path, tag_at_end
from extproc.policy.target import Target

V1 = Target("p", "v1", "west", ("10.0.0.1:80", "[::1]:80"))
V2 = Target("p", "v2", "", ("10.0.0.1:80",))
NAMED = Target("p", "v3", "", ("a:80", "10.0.0.1:80"))
KEY = b"k" * 32
IDS = st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), max_size=40)


def tag_of(target: Target, endpoint: str) -> str:
    return session_tag(KEY, MCP, target, endpoint)


def test_a_tag_is_a_pure_function_of_key_kind_and_names() -> None:
    assert tag_of(V1, "10.0.0.1:80") == "kdhlwbqcwb7zkijx"
    servers = [(target, endpoint) for target in (V1, V2, NAMED) for endpoint in target.endpoints]
    tags = {session_tag(key, kind, *server) for key in (KEY, b"other") for kind in (MCP, CALL) for server in servers}
    assert len(tags) == 20
    assert all(re.fullmatch(TAG, tag) for tag in tags)


def test_names_do_not_run_together() -> None:
    assert tag_of(Target("a", "b", "", ()), "c:1") != tag_of(Target("a", "", "b", ()), "c:1")


def test_a_place_names_the_server_where_a_proxy_can_be_told() -> None:
    found = places([KEY], [V1, V2, NAMED])
    assert found[MCP, tag_of(V1, "[::1]:80")] == Place(V1, "[::1]:80")
    assert found[MCP, tag_of(V2, "10.0.0.1:80")] == Place(V2, "")
    assert found[MCP, tag_of(NAMED, "a:80")] == Place(NAMED, "")
    assert (CALL, tag_of(V2, "10.0.0.1:80")) not in found
    assert places([], [V1]) == {}


def test_tags_of_an_old_key_hold_beside_the_new_one() -> None:
    both, new = places([b"new", KEY], [V1]), places([b"new"], [V1])
    assert (MCP, tag_of(V1, "[::1]:80")) in both
    assert new.items() <= both.items()
    assert (MCP, tag_of(V1, "[::1]:80")) not in new


@given(IDS)
def test_the_servers_id_comes_back_whole(session: str) -> None:
    tag = tag_of(V1, "10.0.0.1:80")
    assume(session and not re.search(f"~{TAG}$", session))
    assert tag_at_end(f"{session}~{tag}") == tag


@given(IDS)
def test_what_has_no_tag_has_none(session: str) -> None:
    assert tag_at_end(session) == "" or re.search(f"~{TAG}$", session)


def test_of_several_tags_none_counts() -> None:
    tag = tag_of(V1, "10.0.0.1:80")
    assert tag_at_end(f"a~{tag}~{tag}") == ""
    assert tag_at_end(f"~{tag}") == ""
    assert split_path(f"/v1/realtime/calls/rtc~{tag}~{tag}/hangup") == ("/v1/realtime/calls/rtc/hangup", "")
    assert split_path(f"/v1/realtime?call_id=a~{tag}&call_id=b~{tag}") == ("/v1/realtime?call_id=a&call_id=b", "")


def test_a_tag_is_taken_out_behind_a_calls_id() -> None:
    tag = tag_of(V1, "10.0.0.1:80")
    assert split_path(f"/v1/realtime/calls/rtc_1~{tag}/hangup?a=b") == ("/v1/realtime/calls/rtc_1/hangup?a=b", tag)
    assert split_path(f"/v1/realtime?call_id=rtc_1~{tag}&x=y") == ("/v1/realtime?call_id=rtc_1&x=y", tag)
    for plain in ("/~user/x", f"/a~{tag}x", f"/a~{tag}", "/a", f"/v1/x~{tag}/y", f"/v1/realtime?model=m~{tag}"):
        assert split_path(plain) == (plain, "")


SEGMENTS = st.lists(
    st.sampled_from([".", "..", "%2e", "a", "~", "~" + "a" * 16, "/", "realtime/calls/", "?call_id=", "&"]), max_size=12
)


@given(SEGMENTS)
def test_no_removal_makes_dots_or_empty_segments(parts: list[str]) -> None:
    path = "/v1/realtime/calls/" + "".join(parts)
    changed, _ = split_path(path)

    def risky(target: str) -> int:
        return sum(segment in ("", ".", "..", "%2e", "%2e%2e") for segment in re.split("[/?&=]", target))

    assert risky(changed) == risky(path)
    assert split_path(changed)[0] == changed


def test_keys_are_spread_over_servers_and_stay() -> None:
    chosen = [server_of(V1, str(key).encode()) for key in range(200)]
    assert 60 < chosen.count("[::1]:80") < 140
    assert chosen == [server_of(V1, str(key).encode()) for key in range(200)]
    assert server_of(V2, b"k") == ""
    assert server_of(NAMED, b"k") == ""

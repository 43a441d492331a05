"""Tags of servers: the same wherever the policies are the same, unlike for every server, found where they stand."""

from __future__ import annotations

import re

from hypothesis import given
from hypothesis import strategies as st

from extproc.policy.session_tag import TAG, Place, places, server_of, session_tag, split_path, tag_at_end
from extproc.policy.target import Target

V1 = Target("p", "v1", "west", ("10.0.0.1:80", "[::1]:80"))
V2 = Target("p", "v2", "", ("10.0.0.1:80",))
NAMED = Target("p", "v3", "", ("a:80", "10.0.0.1:80"))
IDS = st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), max_size=40)


def test_a_tag_is_a_pure_function_of_names() -> None:
    assert session_tag(V1, "10.0.0.1:80") == "d33sr6jqomhbotea"
    tags = {session_tag(target, endpoint) for target in (V1, V2, NAMED) for endpoint in target.endpoints}
    assert len(tags) == 5
    assert all(re.fullmatch(TAG, tag) for tag in tags)


def test_names_do_not_run_together() -> None:
    assert session_tag(Target("a", "b", "", ()), "c:1") != session_tag(Target("a", "", "b", ()), "c:1")


def test_a_place_names_the_server_where_a_proxy_can_be_told() -> None:
    found = places([V1, V2, NAMED])
    assert found[session_tag(V1, "[::1]:80")] == Place(V1, "[::1]:80")
    assert found[session_tag(V2, "10.0.0.1:80")] == Place(V2, "")
    assert found[session_tag(NAMED, "a:80")] == Place(NAMED, "")


@given(IDS)
def test_the_servers_id_comes_back_whole(session: str) -> None:
    tag = session_tag(V1, "10.0.0.1:80")
    assert tag_at_end(f"{session}~{tag}") == tag


@given(IDS)
def test_what_has_no_tag_has_none(session: str) -> None:
    assert tag_at_end(session) == "" or re.search(f"~{TAG}$", session)


def test_a_tag_in_a_path_is_taken_out() -> None:
    tag = session_tag(V1, "10.0.0.1:80")
    assert split_path(f"/v1/realtime/calls/rtc_1~{tag}/hangup?a=b") == ("/v1/realtime/calls/rtc_1/hangup?a=b", tag)
    assert split_path(f"/v1/realtime?call_id=rtc_1~{tag}&x=y") == ("/v1/realtime?call_id=rtc_1&x=y", tag)
    assert split_path(f"/a~{tag}") == ("/a", tag)
    for plain in ("/~user/x", f"/a~{tag}x", f"/a~{tag[1:]}", "/a"):
        assert split_path(plain) == (plain, "")


def test_keys_are_spread_over_servers_and_stay() -> None:
    chosen = [server_of(V1, str(key).encode()) for key in range(200)]
    assert 60 < chosen.count("[::1]:80") < 140
    assert chosen == [server_of(V1, str(key).encode()) for key in range(200)]
    assert server_of(V2, b"k") == ""
    assert server_of(NAMED, b"k") == ""

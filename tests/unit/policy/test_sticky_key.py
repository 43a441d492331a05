"""Sticky keys: where a policy says that they are, and cookies as browsers write them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from extproc.headers import Headers
from extproc.policy.snapshot import Policy, Sticky
from extproc.policy.sticky_key import cookie, sticky_key

HEADERS = Headers.of([("x-user", "ann"), ("cookie", "a=b; session=bob"), ("x-empty", "")])


@pytest.mark.parametrize(
    ("sticky", "body_key", "key"),
    [
        (None, "carl", None),
        (Sticky(header="x-user"), "carl", b"ann"),
        (Sticky(header="x-empty"), None, None),
        (Sticky(header="x-other"), None, None),
        (Sticky(cookie="session"), "carl", b"bob"),
        (Sticky(cookie="none"), None, None),
        (Sticky(body=("user",)), "carl", b"carl"),
        (Sticky(body=("user",)), "", None),
        (Sticky(body=("user",)), None, None),
    ],
)
def test_the_key_is_where_the_policy_says(sticky: Sticky | None, body_key: str | None, key: bytes | None) -> None:
    assert sticky_key(Policy("p", sticky=sticky), HEADERS, body_key) == key


@pytest.mark.parametrize(
    ("lines", "value"),
    [
        ([], None),
        (["user=ann"], b"ann"),
        (["theme=dark; user=ann"], b"ann"),
        (["theme=dark;user=ann"], b"ann"),
        (["theme=dark", "user=ann"], b"ann"),  # HTTP/2 may send a line for each (RFC 9113 §8.2.3)
        (["user=ann; user=bob"], b"ann"),
        (['user="ann"'], b"ann"),
        (['user=""'], b""),
        (['user="'], b'"'),
        (['user="ann'], b'"ann'),
        (["user= ann "], b"ann"),
        (["user=a=b=="], b"a=b=="),
        (["user="], b""),
        (["user"], None),
        (["superuser=root; users=all"], None),
        (["User=ann"], None),  # names of cookies are case-sensitive
        (["theme=user=ann"], None),
    ],
)
def test_cookie(lines: list[str], value: bytes | None) -> None:
    assert cookie(Headers.of([("Cookie", line) for line in lines]), "user") == value


TOKEN = st.text("abcXYZ019-_.", min_size=1, max_size=6)
COOKIE_OCTETS = "!#$%&'()*+-./09:<=>?@AZ[]^_`az{|}~"


@given(st.dictionaries(TOKEN, st.text(COOKIE_OCTETS, max_size=8), min_size=1), st.data())
def test_every_cookie_of_a_line_is_found(cookies: dict[str, str], data: st.DataObject) -> None:
    name = data.draw(st.sampled_from(sorted(cookies)))
    line = "; ".join(f"{n}={v}" for n, v in cookies.items())
    assert cookie(Headers.of([("cookie", line)]), name) == cookies[name].encode()


@given(st.binary(max_size=30))
def test_no_cookie_line_breaks_the_reader(line: bytes) -> None:
    found = cookie(Headers([("cookie", line)]), "user")
    assert found is None or found in line

"""URLs that can be asked, and what is none."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from extproc.fetch.answer_reader import AnswerReader
from extproc.fetch.url import Url, parse


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("http://a", Url("a", 80, "/", False, "a")),
        ("https://a.b_c.:9/x/y?z=1&z#f", Url("a.b_c.", 9, "/x/y?z=1&z", True, "a.b_c.:9")),
        ("https://[::1]", Url("::1", 443, "/", True, "[::1]")),
        ("http://10.0.0.1:80?q", Url("10.0.0.1", 80, "/?q", False, "10.0.0.1:80")),
    ],
)
def test_parts(text: str, url: Url) -> None:
    assert parse(text) == url


@pytest.mark.parametrize(
    "text",
    [
        *("", "a", "a:80", "ftp://a", "http://", "http:///x", "http://:80", "http://[abc/metrics", "http://[abc]/"),
        *("http://a:0", "http://a:65536", "http://a:x", "http://u@a", "http://u:p@a", "http://a b", "http://a/é"),
        *("http://a..b", "http://.", "http://a/\r\nx: y", "http://a,b", f"http://{'a' * 254}", "http://[::1%25lo]"),
    ],
)
def test_what_cannot_be_asked(text: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        parse(text)


@given(st.text(st.sampled_from("htps:/[]abc.%@?#&= \r\n0123é"), max_size=20))
def test_whatever_is_parsed_makes_a_request(text: str) -> None:
    for prefix in ("", "http://", "http://a/"):
        try:
            url = parse(prefix + text)
        except ValueError:
            continue
        lines = AnswerReader(url).request.split(b"\r\n")
        assert lines[0] == f"GET {url.target} HTTP/1.1".encode()
        assert lines[4:] == [b"", b""]

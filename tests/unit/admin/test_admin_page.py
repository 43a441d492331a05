"""The page's files: which there are, who gets them, and that nothing is loaded from elsewhere."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from extproc.admin import page

HERE = Path(page.__file__).parent
TEXTS = {path.name: path.read_text() for path in HERE.iterdir() if path.suffix in (".js", ".html", ".css", ".svg")}


def test_every_file_is_served_and_no_other() -> None:
    assert {name for name, _ in page._FILES.values()} == set(TEXTS)
    for path, (name, content_type) in page._FILES.items():
        assert page.asset(path, "text/html") == (content_type, (HERE / name).read_bytes())


@pytest.mark.parametrize(("accept", "found"), [("text/html,*/*;q=0.8", True), ("*/*", False), ("", False)])
def test_the_page_itself_is_for_those_who_accept_html(accept: str, found: bool) -> None:
    assert (page.asset("/", accept) is not None) is found
    assert page.asset("/page/page.js", accept) is not None


@pytest.mark.parametrize("path", ["/page/", "/page/__init__.py", "/page/../server.py", "/page/%2e%2e/server.py", "//"])
def test_nothing_else_is_there(path: str) -> None:
    assert page.asset(path, "text/html") is None


def test_what_the_page_loads_is_served() -> None:
    html = TEXTS["index.html"]
    loaded = re.findall(r"<(?:link|script|img)[^>]*(?:src|href)=\"([^\"]+)\"", html)
    assert {"/page/page.js", "/page/page.css"} <= set(loaded)
    for path in loaded:
        assert page.asset(f"/{path.lstrip('/')}", "") is not None, path
    for name, text in TEXTS.items():
        for module in re.findall(r"from \"\./([^\"]+)\"", text):
            assert page.asset(f"/page/{module}", "") is not None, (name, module)


@pytest.mark.parametrize("name", sorted(TEXTS))
def test_it_loads_nothing_from_elsewhere_and_makes_no_markup_of_text(name: str) -> None:
    text = re.sub(r"https?://www\.w3\.org/\S+", "", TEXTS[name])
    assert not re.search(r"https?://(?!localhost)", text)
    assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function", text)


def test_the_policy_allows_this_origin_alone() -> None:
    directives = dict(one.strip().split(" ", 1) for one in page.POLICY.split(";"))
    assert directives["default-src"] == "'none'"
    assert {value for name, value in directives.items() if name.endswith("-src")} == {"'none'", "'self'"}
    assert directives["require-trusted-types-for"] == "'script'"
    assert directives["frame-ancestors"] == "'none'"

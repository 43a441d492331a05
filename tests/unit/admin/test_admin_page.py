"""The page's files: which there are, who gets them, and that nothing is loaded from elsewhere."""

from __future__ import annotations

import math
import re
from itertools import combinations
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


Colour = tuple[float, float, float]
"""Linear red, green and blue, 0 to 1."""
COUNT = 24
CSS = TEXTS["page.css"]
_LIGHT, _, _REST = CSS.partition("@media (prefers-color-scheme: dark)")
SCHEMES = {"light": _LIGHT, "dark": _REST.partition(".c0 {")[0]}


def colours(scheme: str) -> dict[str, Colour]:
    """By name, without the dashes."""
    found = {}
    for name, digits in re.findall(r"--([a-z0-9-]+): #([0-9a-f]{6});", SCHEMES[scheme]):
        channels = [int(digits[at : at + 2], 16) / 255 for at in (0, 2, 4)]
        red, green, blue = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels)
        found[name] = (red, green, blue)
    return found


def contrast(one: Colour, other: Colour) -> float:
    """The contrast ratio of WCAG 2."""
    low, high = sorted(0.2126 * r + 0.7152 * g + 0.0722 * b for r, g, b in (one, other))
    return (high + 0.05) / (low + 0.05)


def oklab(colour: Colour) -> Colour:
    """Coordinates in Oklab (CSS Color 4), in which distances are as people see them."""
    red, green, blue = colour
    long = math.cbrt(0.4122214708 * red + 0.5363325363 * green + 0.0514459929 * blue)
    middle = math.cbrt(0.2119034982 * red + 0.6806995451 * green + 0.1073969566 * blue)
    short = math.cbrt(0.0883024619 * red + 0.2817188376 * green + 0.6299787005 * blue)
    return (
        0.2104542553 * long + 0.7936177850 * middle - 0.0040720468 * short,
        1.9779984951 * long - 2.4285922050 * middle + 0.4505937099 * short,
        0.0259040371 * long + 0.7827717662 * middle - 0.8086757660 * short,
    )


@pytest.mark.parametrize("scheme", SCHEMES)
def test_colours_of_models_stand_out_from_the_page_and_from_each_other(scheme: str) -> None:
    found = colours(scheme)
    shown = {f"c{number}": found[f"c{number}"] for number in range(COUNT)}
    for name, colour in shown.items():
        for ground in ("card", "paper"):
            assert contrast(colour, found[ground]) >= 3, (name, ground)  # WCAG 2.1, 1.4.11
    places = {name: oklab(colour) for name, colour in shown.items()}
    near = {(a, b): math.dist(places[a], places[b]) for a, b in combinations(places, 2)}
    assert min(near.values()) >= 0.08, min(near, key=lambda pair: near[pair])


def test_there_are_as_many_colours_as_the_script_gives_away() -> None:
    assert f"COUNT = {COUNT};" in TEXTS["colours.js"]
    for number in range(COUNT):
        assert f".c{number} {{ --c: var(--c{number}); }}" in CSS
    assert f".c{COUNT} " not in CSS

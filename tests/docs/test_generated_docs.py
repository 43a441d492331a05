"""What the documentation takes from the code is what the code says now."""

from __future__ import annotations

import pytest

from docs.generate import BEGIN, DOCS, END, PAGES, between_markers


@pytest.mark.parametrize("name", PAGES)
def test_a_page_is_as_it_would_be_generated(name: str) -> None:
    page = (DOCS / name).read_text()
    assert PAGES[name](page) == page, "run `make docs`"


def test_only_what_stands_between_the_markers_is_replaced() -> None:
    page = f"# Rules\n{BEGIN}old\n{END}after\n"
    once = between_markers(page, "new\n")
    assert once == f"# Rules\n{BEGIN}\nnew\n\n{END}after\n"
    assert between_markers(once, "new\n") == once


@pytest.mark.parametrize("page", ["", BEGIN, END, f"{BEGIN}{BEGIN}{END}"])
def test_a_page_without_its_markers_is_refused(page: str) -> None:
    with pytest.raises(ValueError, match="once each"):
        between_markers(page, "new")

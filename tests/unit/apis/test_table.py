"""docs/apis.md: its table is the code's."""

from __future__ import annotations

import re

from extproc import apis
from extproc.apis.row import ANY_PATH
from extproc.apis.table import markdown
from extproc.exchange.explain import UNMATCHED
from extproc.headers import safe_value
from tests.house.tree import ROOT

PAGE = ROOT / "docs" / "apis.md"


def test_every_row_is_shown_once() -> None:
    page = markdown()
    shown = re.findall(r"`(GET|POST|DELETE) ([^`]+)`", page)
    rows = [(row.method, "any path" if row.path == ANY_PATH else row.path) for row in apis.TABLE]
    assert sorted(shown) == sorted(rows)
    assert all(f"`{row.operation}`" in page for row in apis.TABLE)
    assert all(row.note in page for row in apis.TABLE)


def test_the_page_names_every_reason_and_its_example_is_true() -> None:
    text = PAGE.read_text()
    assert set(re.findall(r"^\| `(\w+)` \|", text.partition("## The table")[0], re.MULTILINE)) == set(UNMATCHED)
    assert f"`{safe_value('Modèle 1')}`" in text

"""docs/apis.md: its table is the code's."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from extproc import apis
from extproc.apis.__main__ import main
from extproc.apis.row import ANY_PATH
from extproc.apis.table import BEGIN, END, markdown, replaced
from extproc.exchange.explain import UNMATCHED
from extproc.headers import safe_value
from tests.unit.house import ROOT

PAGE = ROOT / "docs" / "apis.md"


def test_the_page_has_the_table_of_the_code() -> None:
    text = PAGE.read_text()
    assert (text.count(BEGIN), text.count(END)) == (1, 1)
    assert replaced(text) == text, "run `make docs`"


def test_every_row_is_shown_once() -> None:
    shown = re.findall(r"`(GET|POST|DELETE) ([^`]+)`", markdown())
    rows = [(row.method, "any path" if row.path == ANY_PATH else row.path) for row in apis.TABLE]
    assert sorted(shown) == sorted(rows)
    assert all(f"`{row.operation}`" in markdown() for row in apis.TABLE)
    assert all(row.note in markdown() for row in apis.TABLE)


def test_the_page_names_every_reason_and_its_example_is_true() -> None:
    text = PAGE.read_text()
    assert set(re.findall(r"^\| `(\w+)` \|", text.partition("## The table")[0], re.MULTILINE)) == set(UNMATCHED)
    assert f"`{safe_value('Modèle 1')}`" in text


def test_the_page_is_made_anew(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page = tmp_path / "apis.md"
    shutil.copy(PAGE, page)
    page.write_text(page.read_text().replace("chat.completions", "chat.was"))
    main([str(page)])
    assert page.read_text() == PAGE.read_text()
    main([])
    assert capsys.readouterr().out.strip() == markdown().strip()

"""`extproc tap`: its flags become the filter that processors get."""

from __future__ import annotations

from typing import Any

import pytest

from extproc.cli import tap_output
from extproc.cli.main import main
from tests.unit.cli.command_lines import flags, help_of, refused

UNFILTERED = {"model": "", "version": "", "pool": "", "code": "", "caller": "", "min_ms": 0.0}


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, ...]]:
    """In the place of tapping, which does not end by itself: its arguments."""
    found: list[tuple[Any, ...]] = []

    def print_requests(sources: list[str], wanted: Any, *, as_json: bool) -> int:
        found.append((sources, wanted.query(), as_json))
        raise KeyboardInterrupt

    monkeypatch.setattr(tap_output, "print_requests", print_requests)
    return found


def test_defaults() -> None:
    assert flags("tap") == {"sources": None, **UNFILTERED, "code": None, "json": False}


def test_flags_are_the_filter(calls: list[tuple[Any, ...]]) -> None:
    words = "--from h:1 --model llama-* --version v2 --pool west --code 5xx --caller a/* --min-ms 2000 --json"
    assert main(["tap", *words.split()]) == 130
    wanted = {"model": "llama-*", "version": "v2", "pool": "west", "code": "5xx", "caller": "a/*", "min_ms": "2000.0"}
    assert calls == [(["h:1"], wanted, True)]


def test_without_flags_all_requests_of_the_processor_on_this_machine(calls: list[tuple[Any, ...]]) -> None:
    assert main(["tap"]) == 130
    assert calls == [(["http://127.0.0.1:9090"], {}, False)]


def test_a_bad_duration(capsys: pytest.CaptureFixture[str]) -> None:
    assert "--min-ms: 'slow' is no number of seconds" in refused(capsys, "tap", "--min-ms", "slow")


def test_help_has_examples(capsys: pytest.CaptureFixture[str]) -> None:
    assert "extproc tap --code 5xx --json | jq -r '.asked'" in help_of(capsys, "tap")

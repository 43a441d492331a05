"""Flags that several commands share: defaults, choices, bounds."""

from __future__ import annotations

import argparse

import pytest

from extproc.cli.shared_flags import (
    MAX_WINDOW_SECONDS,
    add_envoy_flags,
    add_otlp_flag,
    add_sources_flag,
    add_window_flag,
    add_workers_flag,
)
from extproc.telemetry.recent_traffic_by_caller import MAX_WINDOW


@pytest.fixture
def parser(monkeypatch: pytest.MonkeyPatch) -> argparse.ArgumentParser:
    monkeypatch.delenv("OTEL_EXPORTER_OTLP_ENDPOINT", raising=False)
    found = argparse.ArgumentParser(exit_on_error=False)
    for add in (add_envoy_flags, add_otlp_flag, add_sources_flag, add_window_flag, add_workers_flag):
        add(found)
    return found


def test_defaults(parser: argparse.ArgumentParser) -> None:
    assert vars(parser.parse_args([])) == {
        "body": "buffered",
        "fail_closed": False,
        "access_log": "/dev/stdout",
        "otlp": "",
        "sources": None,
        "window": 60.0,
        "workers": 1,
    }


def test_a_window_is_what_processors_remember(parser: argparse.ArgumentParser) -> None:
    assert MAX_WINDOW_SECONDS == MAX_WINDOW
    assert parser.parse_args(["--window", "1"]).window == 1
    assert parser.parse_args(["--window", str(MAX_WINDOW_SECONDS)]).window == MAX_WINDOW_SECONDS


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("--window 0.9", "0.9 is not between 1 and 300 seconds"),
        ("--window 300.1", "300.1 is not between 1 and 300 seconds"),
        ("--window long", "'long' is no number of seconds"),
        ("--body none", "invalid choice: 'none'"),
        ("--workers -1", "'-1' is no number from 1"),
        ("--otlp grpc://c", "'grpc://c' is no collector's URL"),
    ],
)
def test_bad_words(parser: argparse.ArgumentParser, words: str, said: str) -> None:
    with pytest.raises(argparse.ArgumentError) as caught:
        parser.parse_args(words.split())
    assert said in str(caught.value)


@pytest.mark.parametrize("body", ["buffered", "streamed", "native"])
def test_bodies(parser: argparse.ArgumentParser, body: str) -> None:
    assert parser.parse_args(["--body", body, "--access-log", "", "--from", "a", "--from", "b"]).body == body

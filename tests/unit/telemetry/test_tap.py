"""Live requests: which a tapper gets, what a line tells, and that a slow one loses records and nobody's time."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from extproc.exchange.notes import Observed
from extproc.telemetry.tap import MAX_QUEUED, OpenTaps, TapBuffer, TapFilter, encode_record

SLOW = Observed(
    "llama-*",
    "v2",
    "west",
    "openai",
    "503",
    1.5,
    cohort="sticky",
    caller="spiffe://a/ns/shop/sa/search",
    asked="llama-3",
    first_token=0.0613,
)


@pytest.mark.parametrize(
    ("wanted", "matches"),
    [
        (TapFilter(), True),
        (TapFilter(model="llama-3"), True),
        (TapFilter(model="llama-?"), True),
        (TapFilter(model="mistral"), False),
        (TapFilter(version="v2", pool="w*"), True),
        (TapFilter(version="v1", pool="w*"), False),
        (TapFilter(code="5xx"), True),
        (TapFilter(code="503"), True),
        (TapFilter(code="2xx"), False),
        (TapFilter(caller="*/sa/search"), True),
        (TapFilter(caller="*/sa/chat"), False),
        (TapFilter(min_ms=1500), True),
        (TapFilter(min_ms=1501), False),
    ],
)
def test_which_are_wanted(wanted: TapFilter, matches: bool) -> None:
    assert wanted.matches(SLOW) == matches
    assert msgspec.convert(wanted.query(), TapFilter, strict=False) == wanted, "as it goes over the wire"


def test_without_a_time_nothing_took_long() -> None:
    assert not TapFilter(min_ms=1).matches(Observed("m", "v", "p", "a", "0", None))


def test_what_a_line_tells() -> None:
    told = json.loads(encode_record(0.5, SLOW))
    assert told["time"] == "1970-01-01T00:00:00.500+00:00"
    assert (told["ms"], told["ttft_ms"], told["tpot_ms"]) == (1500.0, 61.3, None)
    assert (told["model"], told["asked"], told["version"], told["gpu_pool"]) == ("llama-*", "llama-3", "v2", "west")
    assert told["failed"] is True
    assert told["caller"] == "spiffe://a/ns/shop/sa/search"


def test_each_tapper_gets_what_it_wants_while_it_taps() -> None:
    taps = OpenTaps()
    taps.note(SLOW)
    with taps.open(TapFilter()) as every, taps.open(TapFilter(code="2xx")) as good:
        taps.note(SLOW)
        taps.note(Observed("m", "v1", "p", "openai", "200", 0.1))
        assert [json.loads(next(every))["code"] for _ in range(2)] == ["503", "200"]
        assert json.loads(next(good))["code"] == "200"
    assert taps._open == ()


def test_a_slow_tapper_is_told_what_it_lost() -> None:
    taps = OpenTaps()
    with taps.open(TapFilter()) as lines:
        for _ in range(MAX_QUEUED + 7):
            taps.note(SLOW)
        assert json.loads(next(lines))["code"] == "503"
        assert json.loads(next(lines)) == {"lost": 7}
        assert [json.loads(next(lines))["code"] for _ in range(MAX_QUEUED - 1)] == ["503"] * (MAX_QUEUED - 1)
        taps.note(SLOW)
        assert json.loads(next(lines))["code"] == "503"


def test_silence_is_an_empty_line() -> None:
    buffer = TapBuffer()
    lines = buffer.lines(heartbeat=0.001)
    assert next(lines) == b"\n"
    buffer.put(b"x\n")
    assert next(lines) == b"x\n"


PARTS = {
    "model": st.sampled_from(["", "llama-*", "llama-3", "mistral"]),
    "version": st.sampled_from(["", "v2", "v?", "v1"]),
    "pool": st.sampled_from(["", "w*", "east"]),
    "code": st.sampled_from(["", "5xx", "503", "2xx"]),
    "caller": st.sampled_from(["", "*search", "*chat"]),
    "min_ms": st.sampled_from([0.0, 1.0, 1500.0, 9999.0]),
}


@given(st.fixed_dictionaries(PARTS))
def test_every_part_of_what_is_wanted_must_hold(parts: dict[str, Any]) -> None:
    one_by_one = [TapFilter(**{name: value}).matches(SLOW) for name, value in parts.items()]
    assert TapFilter(**parts).matches(SLOW) == all(one_by_one)

"""Live requests: which a tapper gets, what a line tells, and that a slow one loses records and nobody's time."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from extproc.exchange.notes import Observed, RequestAccount
from extproc.telemetry import awaited_accounts
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


LEFT_OUT = RequestAccount("m", "v1", "p", "openai", "503", 0.25, observed=False, failure="upstream_reset", asked="m-1")


def test_what_a_line_tells_of_an_answer_that_nobody_read() -> None:
    told = json.loads(encode_record(0.5, LEFT_OUT))
    assert (told["observed"], told["failed"], told["error"]) == (False, True, "upstream_reset")
    assert (told["code"], told["ms"], told["model"], told["asked"]) == ("503", 250.0, "m", "m-1")
    unknown = ("ttft_ms", "tpot_ms", "input_tokens", "output_tokens", "cached_tokens", "streamed")
    assert [told[name] for name in unknown] == [None] * 6
    read = json.loads(encode_record(0.5, SLOW))
    assert (read["observed"], read["streamed"]) == (True, False)
    assert read.keys() == told.keys()


def test_a_tapper_gets_what_it_wants_of_what_nobody_read() -> None:
    taps = OpenTaps()
    with taps.open(TapFilter(code="2xx")) as good, taps.open(TapFilter(model="m-?")) as every:
        taps.account(LEFT_OUT)
        taps.account(msgspec.structs.replace(LEFT_OUT, code="200", failure=""))
        assert [json.loads(next(every))["code"] for _ in range(2)] == ["503", "200"]
        assert json.loads(next(good))["code"] == "200"


def test_of_what_was_read_the_account_is_no_line() -> None:
    taps = OpenTaps()
    with taps.open(TapFilter()) as lines:
        taps.account(msgspec.structs.replace(LEFT_OUT, observed=True))
        taps.note(SLOW)
        assert json.loads(next(lines))["model"] == "llama-*"


def test_of_what_was_not_drawn_to_be_read_to_its_end_the_account_is_the_line() -> None:
    """Also where it ended with its first token, and so is known."""
    taps = OpenTaps()
    with taps.open(TapFilter()) as lines:
        taps.note(msgspec.structs.replace(SLOW, read_to_end=False))
        taps.account(LEFT_OUT)
        assert json.loads(next(lines))["model"] == LEFT_OUT.model


def test_an_account_says_who_broke_off_also_where_the_request_went_elsewhere() -> None:
    taps = OpenTaps()
    broken = msgspec.structs.replace(SLOW, code="200", error="broken_off", accounted=True, request_id="a")
    with taps.open(TapFilter(version="v2")) as lines:
        taps.note(broken)
        taps.account(RequestAccount("m", "v1", "p", "openai", "200", 1.0, failure="upstream_broke_off", request_id="a"))
        told = json.loads(next(lines))
    assert (told["error"], told["failed"], told["version"]) == ("upstream_broke_off", True, "v2")


def test_without_an_account_it_is_told_that_it_was_broken_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(awaited_accounts, "MAX_WAIT", 0.01)
    taps = OpenTaps()
    with taps.open(TapFilter()) as lines:
        taps.note(msgspec.structs.replace(SLOW, code="200", error="broken_off", accounted=True, request_id="a"))
        told = json.loads(next(lines))
    assert (told["error"], told["failed"]) == ("broken_off", False)


def test_accounts_that_a_slow_tapper_loses_are_no_lost_records() -> None:
    buffer = TapBuffer(1)
    buffer.put((0.0, SLOW))
    buffer.explain((0.0, LEFT_OUT))
    lines = buffer.lines(heartbeat=0.001)
    assert json.loads(next(lines))["code"] == "503"
    assert next(lines) == b"\n"


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


def test_whoever_has_no_identity_is_found_as_unknown() -> None:
    nameless = msgspec.structs.replace(SLOW, caller="")
    assert TapFilter(caller="unknown").matches(nameless)
    assert not TapFilter(caller="unknown").matches(SLOW)

"""Broken off answers and their accounts, in any order: each answer is shown once, with the reason where it is known."""

from __future__ import annotations

from collections import Counter

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from extproc.exchange.notes import Observed, RequestAccount
from extproc.telemetry import awaited_accounts
from extproc.telemetry.awaited_accounts import MAX_WAIT, AwaitedAccounts, Ended

BROKEN = Observed("m", "v1", "p", "openai", "200", 1.0, error="broken_off", request_id="a", accounted=True)
ACCOUNT = RequestAccount("m", "v1", "p", "openai", "200", 1.0, failure="upstream_broke_off", request_id="a")
EXPLAINED = msgspec.structs.replace(BROKEN, error="upstream_broke_off")


def answer(request_id: str, error: str = "broken_off") -> Observed:
    return msgspec.structs.replace(BROKEN, request_id=request_id, error=error)


def test_an_answer_waits_for_its_account() -> None:
    awaited = AwaitedAccounts()
    assert awaited.take(10.0, BROKEN) == []
    assert awaited.next_overdue(10.5) == 1.0
    assert awaited.take(10.2, ACCOUNT) == [(10.0, EXPLAINED)]
    assert awaited.next_overdue(10.5) is None


def test_a_status_of_the_servers_fault_waits_for_its_reason() -> None:
    failed = msgspec.structs.replace(BROKEN, code="503", error="")
    unreachable = msgspec.structs.replace(ACCOUNT, code="503", failure="upstream_unreachable")
    awaited = AwaitedAccounts()
    assert awaited.take(10.0, failed) == []
    explained = msgspec.structs.replace(failed, error="upstream_unreachable")
    assert awaited.take(10.2, unreachable) == [(10.0, explained)]
    assert awaited.take(11.0, failed) == []
    assert awaited.take(11.2, msgspec.structs.replace(unreachable, failure="")) == [(11.0, failed)], "the server's own"


def test_an_account_waits_for_its_answer() -> None:
    awaited = AwaitedAccounts()
    assert awaited.take(10.0, ACCOUNT) == []
    assert awaited.take(11.0, BROKEN) == [(11.0, EXPLAINED)]
    assert awaited.take(11.1, BROKEN) == [], "it explains one"


def test_an_account_that_knows_of_no_failure_ends_the_waiting() -> None:
    awaited = AwaitedAccounts()
    awaited.take(10.0, BROKEN)
    assert awaited.take(10.2, msgspec.structs.replace(ACCOUNT, failure="")) == [(10.0, BROKEN)]


@pytest.mark.parametrize(
    "observed",
    [
        answer("a", ""),
        answer("a", "error_in_stream"),
        answer("a", "cut_short"),
        answer(""),
        msgspec.structs.replace(BROKEN, accounted=False),
    ],
)
def test_everything_else_is_shown_at_once_as_it_is(observed: Observed) -> None:
    awaited = AwaitedAccounts()
    assert awaited.take(10.0, observed) == [(10.0, observed)]
    awaited.take(10.0, ACCOUNT)
    assert awaited.take(10.0, observed) == [(10.0, observed)]
    assert awaited.next_overdue(10.0) is None


def test_what_nobody_observed_is_its_account() -> None:
    left_out = msgspec.structs.replace(ACCOUNT, observed=False)
    assert AwaitedAccounts().take(10.0, left_out) == [(10.0, left_out)]


def test_neither_waits_for_longer_than_it_may() -> None:
    awaited = AwaitedAccounts()
    awaited.take(10.0, BROKEN)
    awaited.take(10.0, msgspec.structs.replace(ACCOUNT, request_id="b"))
    assert awaited.overdue(10.0 + MAX_WAIT - 0.01) == []
    assert awaited.overdue(10.0 + MAX_WAIT) == [(10.0, BROKEN)]
    assert awaited.take(10.0 + MAX_WAIT, answer("b")) == []


def test_a_clock_that_is_set_back_ends_the_waiting() -> None:
    awaited = AwaitedAccounts()
    awaited.take(10.0, BROKEN)
    assert awaited.take(9.0, answer("b")) == [(10.0, BROKEN)]


def test_no_more_wait_than_may(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(awaited_accounts, "MAX_AWAITED", 2)
    awaited = AwaitedAccounts()
    assert [awaited.take(10.0, answer(each)) for each in "abc"] == [[], [], [(10.0, answer("a"))]]
    accounts = [msgspec.structs.replace(ACCOUNT, request_id=each) for each in "def"]
    assert [awaited.take(10.0, each) for each in accounts] == [[], [], []]
    assert awaited.take(10.0, answer("d")) == [(10.0, answer("b"))], "its account is forgotten, and it waits"
    assert awaited.take(10.0, answer("f")) == [(10.0, answer("f", "upstream_broke_off"))]


def test_of_two_answers_to_one_id_the_first_waits_no_longer() -> None:
    awaited = AwaitedAccounts()
    awaited.take(10.0, BROKEN)
    assert awaited.take(10.1, BROKEN) == [(10.0, BROKEN)]
    assert awaited.take(10.2, ACCOUNT) == [(10.1, EXPLAINED)]


NOTES = st.one_of(
    st.builds(answer, st.sampled_from(["", "a", "b", "c"]), st.sampled_from(["", "broken_off", "cut_short"])),
    st.builds(
        lambda request_id, failure, observed: msgspec.structs.replace(
            ACCOUNT, request_id=request_id, failure=failure, observed=observed
        ),
        st.sampled_from(["", "a", "b", "c"]),
        st.sampled_from(["", "client_left", "upstream_broke_off"]),
        st.booleans(),
    ),
)


@given(st.lists(st.tuples(st.floats(0, 1, allow_nan=False), NOTES)))
def test_everything_is_shown_once_and_in_time(notes: list[tuple[float, Observed | RequestAccount]]) -> None:
    awaited, now = AwaitedAccounts(), 0.0
    shown: list[Ended] = []
    given_: list[float] = []
    for pause, note in notes:
        now += pause
        found = awaited.take(now, note)
        assert all(0 <= now - at <= MAX_WAIT + 1 for at, _ in found)
        shown += found
        if isinstance(note, Observed) or not note.observed:
            given_.append(now)
    shown += awaited.overdue(now + MAX_WAIT + 1)
    assert awaited.next_overdue(now) is None
    assert Counter(at for at, _ in shown) == Counter(given_)

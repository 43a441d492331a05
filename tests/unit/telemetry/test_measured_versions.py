"""What one process counts for verdicts on rollouts: whose requests, and how often each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from extproc.exchange.notes import Observed, RequestAccount
from extproc.policy.rollout_plan import ERRORS, FIRST_TOKEN, OUTPUT_TOKENS, PER_TOKEN, Guard, RolloutPlan
from extproc.policy.snapshot import Policy, Snapshot, Version
from extproc.rollout.evidence import ABANDONED, DURATION, ZERO, VersionEvidence, bucket, in_groups
from extproc.telemetry.measured_versions import (
    Measured,
    MeasuredVersions,
    MergedEvidence,
    ProcessEvidence,
    decode_report,
    encode_report,
    new_evidence,
)

PLAN = RolloutPlan("v2", (Guard(metric=ERRORS, maximum=0.01),))
SNAPSHOT = Snapshot((Policy("chat", versions=(Version("v1"), Version("v2", 0)), rollout=PLAN), Policy("plain")))


def observed(code: str = "200", **more: Any) -> Observed:
    known = {"policy": "chat", "cohort": "weight", "operation": "chat.completions"}
    return Observed("m", "v2", "none", "openai", code, 0.5, **(known | more))


def account(code: str = "200", **more: Any) -> RequestAccount:
    return RequestAccount("m", "v2", "none", "openai", code, 0.5, **{"policy": "chat", "cohort": "sticky", **more})


def only(measured: MeasuredVersions) -> ProcessEvidence:
    (process,) = decode_report(measured.report()).processes
    return process


def counted(*notes: Observed | RequestAccount) -> VersionEvidence:
    measured = MeasuredVersions()
    measured.set_snapshot(SNAPSHOT)
    for note in notes:
        if isinstance(note, Observed):
            measured.note(note)
        else:
            measured.account(note)
    return only(measured).policies.get("chat", {}).get("v2", VersionEvidence())


def numbers(*notes: Observed | RequestAccount) -> tuple[int, int, int, int]:
    found = counted(*notes)
    return found.requests, found.failures, found.answers, found.answer_failures


@pytest.mark.parametrize(
    ("notes", "expected"),
    [
        ([observed()], (1, 0, 1, 0)),
        ([observed("503")], (1, 1, 1, 0)),
        ([observed("400"), observed(error="client_error")], (0, 0, 0, 0)),  # the client's own mistakes
        ([account("429"), account("400")], (0, 0, 0, 0)),
        ([observed(error="cut_short")], (1, 1, 1, 0)),
        ([observed(error="client_left"), observed("0", error="client_left")], (0, 0, 0, 0)),
        ([account(), observed(accounted=True)], (1, 0, 1, 0)),
        ([account("502"), observed("502", accounted=True)], (1, 1, 1, 0)),
        ([account(failure="upstream_broke_off")], (1, 1, 0, 0)),
        ([account(failure="client_left"), account("0", failure="client_left")], (0, 0, 0, 0)),
        ([account(), observed(accounted=True, error="broken_off")], (1, 0, 0, 0)),
        ([account(), observed(accounted=True, error="error_in_stream", share=0.25)], (1, 0, 1, 1)),
        ([account(), observed(accounted=True, left=True)], (1, 0, 0, 0)),
        ([observed(cohort="match"), account(cohort="pin"), observed(cohort="default")], (0, 0, 0, 0)),
        ([observed(policy="plain"), account(policy="plain"), observed(policy="")], (0, 0, 0, 0)),
    ],
)
def test_counts(notes: list[Observed | RequestAccount], expected: tuple[int, int, int, int]) -> None:
    assert numbers(*notes) == expected


def test_failures_are_counted_by_user_where_one_is_known() -> None:
    found = counted(
        *(account("500", user="a1"), account("500", user="a1"), account("500"), account(user="b2")),
        *(observed(accounted=True, error="cut_short", user="c3"), observed("500", user="b2")),
    )
    assert (found.failures, found.failures_by_user) == (4, {"a1": 2, "b2": 1})
    assert (found.answer_failures, found.answer_failures_by_user) == (1, {"c3": 1})
    many = counted(*(account("500", user=f"{n}") for n in range(999)))
    assert (many.failures, len(many.failures_by_user)) == (999, 256)


def test_values_count_once_whatever_they_stand_for() -> None:
    found = counted(observed(accounted=True, share=0.125, first_token=0.25, per_token=0.02, output_tokens=40))
    assert found.values == {
        FIRST_TOKEN: {bucket(0.25): 1},
        PER_TOKEN: {bucket(0.02): 1},
        OUTPUT_TOKENS: {bucket(40): 1},
    }


def test_times_and_lengths_are_counted_by_groups_of_users() -> None:
    told = observed(accounted=True, first_token=0.25, per_token=0.02, output_tokens=40, user="03")
    left = observed("0", error="client_left", accounted=True, user="04")
    found = {metric: in_groups(values) for metric, values in counted(told, left).values.items()}
    assert [found[m][4] for m in (FIRST_TOKEN, PER_TOKEN, OUTPUT_TOKENS)] == [
        {bucket(0.25): 1},
        {bucket(0.02): 1},
        {bucket(40): 1},
    ]
    assert found[ABANDONED][5] == {bucket(0.5): 1}


def test_how_long_whole_answers_take_and_who_leaves_before_one_waits() -> None:
    assert counted(account(), account("503"), account(failure="upstream_broke_off")).values == {
        DURATION: {bucket(0.5): 1}
    }
    unanswered = (observed("0", error="client_left", accounted=True), observed(error="broken_off", streamed=True))
    assert counted(*unanswered).values == {ABANDONED: {bucket(0.5): 2}}
    assert ABANDONED not in counted(observed(error="broken_off", first_token=0.1)).values


@pytest.mark.parametrize(
    ("api", "operation", "counts"),
    [
        ("openai", "chat.completions", True),
        ("openai", "realtime", True),
        ("ollama", "generate", True),
        ("openai", "embeddings", False),
        ("cohere", "rerank", False),
        ("vllm", "tokenize", False),
        ("openai", "responses.stored", False),
    ],
)
def test_only_who_generates_can_be_short_of_tokens(api: str, operation: str, counts: bool) -> None:
    note = Observed("m", "v2", "none", api, "200", 0.5, policy="chat", cohort="weight", operation=operation)
    assert (OUTPUT_TOKENS in counted(note).values) is counts


def test_of_a_stream_that_was_left_only_the_first_token_is_known() -> None:
    assert counted(observed(accounted=True, left=True, first_token=0.25)).values == {FIRST_TOKEN: {bucket(0.25): 1}}


def test_a_good_answer_that_tells_of_no_tokens_has_none_and_a_bad_one_has_no_length() -> None:
    found = counted(observed(), observed("500"), observed(error="cut_short")).values
    assert found == {OUTPUT_TOKENS: {ZERO: 1}, DURATION: {bucket(0.5): 1}}


def test_only_policies_with_a_rollout_are_counted_and_a_reload_changes_which() -> None:
    measured = MeasuredVersions()
    measured.note(observed())
    assert only(measured).policies == {}
    measured.set_snapshot(SNAPSHOT)
    measured.note(observed())
    measured.set_snapshot(Snapshot())
    measured.note(observed())
    assert only(measured).policies["chat"]["v2"].requests == 1


def test_what_is_new_since_the_last_report_and_of_another_process() -> None:
    measured = MeasuredVersions()
    measured.set_snapshot(SNAPSHOT)
    measured.note(observed(first_token=0.1))
    before = only(measured)
    measured.note(observed(first_token=0.2))
    now = only(measured)
    more = new_evidence(now, before)["chat"]["v2"]
    assert (more.requests, more.values[FIRST_TOKEN]) == (1, {bucket(0.2): 1})
    assert new_evidence(now, None)["chat"]["v2"].requests == 2
    assert only(MeasuredVersions()).process != now.process


def told(*processes: ProcessEvidence) -> Sequence[ProcessEvidence]:
    """As they are heard."""
    return decode_report(encode_report(Measured(processes))).processes


def process(name: str, requests: int, age: float = 1.0) -> ProcessEvidence:
    return ProcessEvidence(name, {"chat": {"v2": VersionEvidence(requests)}}, age)


def test_what_several_processes_count_is_added_up_from_one_time_to_the_next() -> None:
    merged = MergedEvidence()
    assert merged.fresh(told(process("a", 3), process("b", 4)), {}, 100.0)["chat"]["v2"].requests == 7
    assert merged.fresh([], {}, 101.0) == {}
    fresh = merged.fresh(told(process("a", 5), process("c", 1)), {}, 102.0)
    assert fresh["chat"]["v2"].requests == 3, "b has ended, c is new"


def test_what_a_process_has_counted_counts_once_though_it_is_missing_for_a_while() -> None:
    merged = MergedEvidence()
    merged.fresh([process("a", 1000)], {}, 100.0)
    assert merged.fresh([], {}, 101.0) == {}
    assert merged.fresh([process("a", 1002)], {}, 102.0)["chat"]["v2"].requests == 2
    for _ in range(601):
        merged.fresh([], {}, 200.0)
    assert merged.fresh([process("a", 1009, age=2000.0)], {}, 1003.0) == {}, "it was forgotten, and is none that is new"
    assert merged.fresh([process("a", 1010, age=2001.0)], {}, 1004.0)["chat"]["v2"].requests == 1


def test_what_was_counted_partly_before_the_step_began_does_not_count_in_it() -> None:
    merged, since = MergedEvidence(), {"chat": 100.0}
    assert merged.fresh([process("old", 50, age=3.0), process("new", 5, age=1.0)], since, 102.0) == {
        "chat": {"v2": VersionEvidence(5)}
    }
    both = [process("old", 51), process("new", 6)]
    assert merged.fresh(both, since, 103.0)["chat"]["v2"].requests == 2
    silent = [process("old", 52)]
    assert merged.fresh(silent, since, 104.0)["chat"]["v2"].requests == 1
    since = {"chat": 104.0}
    both = [process("old", 53), process("new", 60)]
    assert merged.fresh(both, since, 105.0)["chat"]["v2"].requests == 1, "the other one was silent as the step began"


def test_a_process_tells_its_age() -> None:
    measured = MeasuredVersions()
    first = only(measured).age
    assert 0.0 <= first < only(measured).age

"""Guards on what was measured: what fails, what passes, what waits, and why."""

from __future__ import annotations

import pytest

from extproc.policy.rollout_plan import ERRORS, FIRST_TOKEN, OUTPUT_TOKENS, PER_TOKEN, Guard, RolloutPlan
from extproc.rollout.evidence import ABANDONED, DURATION, StepEvidence, VersionEvidence, of_all
from extproc.rollout.guards import ALARM_LEVEL, MAX_LOOKS, count_tests, judge
from extproc.rollout.steps import FAILING, PASSING, WAITING, Verdict

ERROR_GUARD = Guard(metric=ERRORS, maximum=0.01)
FIRST_TOKEN_GUARD = Guard(metric=FIRST_TOKEN, quantile=0.95, maximum=0.5)
RATIO_GUARD = Guard(metric=PER_TOKEN, quantile=0.5, relative_to="v1", max_ratio=1.2)
TOKENS_GUARD = Guard(metric=OUTPUT_TOKENS, quantile=0.5, relative_to="v1", min_ratio=0.5)
FEWEST_GUARD = Guard(metric=OUTPUT_TOKENS, quantile=0.5, minimum=20)
QUERY_GUARD = Guard(promql="quality", minimum=0.8)


def plan(*guards: Guard) -> RolloutPlan:
    return RolloutPlan("v2", guards, min_requests=100)


def values(metric: str, **counts: dict[float, int]) -> dict[str, VersionEvidence]:
    found = {}
    for version, of_version in counts.items():
        found[version] = VersionEvidence()
        for value, count in of_version.items():
            for _ in range(count):
                found[version].note(metric, value)
    return found


def verdict(guard: Guard, versions: dict[str, VersionEvidence], percent: int = 5) -> Verdict:
    return judge(StepEvidence("chat", 0, versions=versions), plan(guard), percent, {}, 1)


@pytest.mark.parametrize(
    ("evidence", "word"),
    [
        (VersionEvidence(200, 1, 200, 0), PASSING),
        (VersionEvidence(200, 5, 200, 0), WAITING),  # above the bound, and maybe by chance
        (VersionEvidence(200, 30, 200, 0), FAILING),
        (VersionEvidence(200, 0, 200, 30), FAILING),  # told by answers alone
        (VersionEvidence(2000, 0, 200, 30), FAILING),  # of a sample of them
        (VersionEvidence(50, 0, 50, 0), WAITING),
        (VersionEvidence(200, 0, 50, 0), WAITING),
        (VersionEvidence(30, 30, 30, 0), FAILING),  # an alarm waits for no number of requests
        (VersionEvidence(), WAITING),
    ],
)
def test_errors(evidence: VersionEvidence, word: str) -> None:
    assert verdict(ERROR_GUARD, {"v2": evidence}).word == word


FAILED_BY = {
    "one": {"a": 30},
    "two": {"a": 20, "b": 10},
    "three": {"a": 10, "b": 10, "c": 10},
    "two, and few others": {"a": 20, "b": 8, "c": 1, "d": 1},
    "many": {f"{n}": 3 for n in range(10)},
}


@pytest.mark.parametrize(
    ("by_user", "word"),
    [("one", WAITING), ("two", WAITING), ("two, and few others", WAITING), ("three", FAILING), ("many", FAILING)],
)
def test_an_alarm_of_errors_needs_several_users(by_user: str, word: str) -> None:
    """So that nobody alone can roll a version back; nor does it go on as if nothing were wrong."""
    users = FAILED_BY[by_user]
    failed = VersionEvidence(200, 30, 200, failures_by_user=users)
    answers_failed = VersionEvidence(200, 0, 200, 30, answer_failures_by_user=users)
    found = [verdict(ERROR_GUARD, {"v2": one}) for one in (failed, answers_failed)]
    assert [one.word for one in found] == [word, word]
    assert ("which are of too few users" in found[0].reason) is (word == WAITING)


LATE_OR_SHORT = [(FIRST_TOKEN_GUARD, 0.9, 0.2), (RATIO_GUARD, 0.9, 0.2), (TOKENS_GUARD, 5, 100), (FEWEST_GUARD, 5, 100)]


@pytest.mark.parametrize(("guard", "bad", "good"), LATE_OR_SHORT)
@pytest.mark.parametrize(("users", "word"), [(1, WAITING), (2, WAITING), (5, FAILING)])
def test_an_alarm_of_times_and_lengths_needs_several_users(
    guard: Guard, bad: float, good: float, users: int, word: str
) -> None:
    """Whoever sends most requests, and whatever they ask for."""
    versions = {"v1": VersionEvidence(), "v2": VersionEvidence()}
    for number in range(200):
        user = f"{number % 256:02x}"
        versions["v1"].note(guard.metric, good, user)
        versions["v2"].note(guard.metric, good, user)
    for number in range(1200):
        versions["v2"].note(guard.metric, bad, f"{number % users:02x}")
    assert verdict(guard, versions).word == word
    known = {name: VersionEvidence() for name in versions}
    for name, one in versions.items():
        known[name].values = {metric: of_all(found) for metric, found in one.values.items()}
    assert verdict(guard, known).word == FAILING, "where users are not known"


def evidence(answers: int, left: dict[float, int] | None = None, *, took: float = 1.0) -> VersionEvidence:
    """Of as many answers that took ``took`` seconds, with first tokens after 0.2; and who left, by seconds waited."""
    found = VersionEvidence(answers, 0, answers, 0)
    for _ in range(answers):
        found.note(DURATION, took)
        found.note(FIRST_TOKEN, 0.2)
    for seconds, count in (left or {}).items():
        for _ in range(count):
            found.note(ABANDONED, seconds)
    return found


@pytest.mark.parametrize("guard", [ERROR_GUARD, FIRST_TOKEN_GUARD])
@pytest.mark.parametrize(
    ("new", "old", "word"),
    [
        (evidence(0, {3.0: 60}), evidence(500), FAILING),  # it hangs, and clients wait for longer than answers take
        (evidence(200, {3.0: 200}), evidence(500), FAILING),
        (evidence(200, {3.0: 200}), None, FAILING),  # nobody is left on the other
        (evidence(200, {1.0: 200}), evidence(500), WAITING),  # clients are less patient; no others leave
        (evidence(200, {1.0: 200}), None, WAITING),
        (evidence(200, {0.001: 900}), evidence(500), WAITING),  # whoever does so on purpose rolls nothing back
        (evidence(200, {0.1: 20}), evidence(500, {0.1: 50}), PASSING),
        (evidence(200, {0.1: 15}), None, PASSING),
        (evidence(50, {0.1: 900}), evidence(500, {0.1: 9000}), WAITING),  # and they are no requests that were measured
    ],
)
def test_who_leaves_without_an_answer(
    guard: Guard, new: VersionEvidence, old: VersionEvidence | None, word: str
) -> None:
    versions = {"v2": new} | ({} if old is None else {"v1": old})
    assert verdict(guard, versions).word == word


@pytest.mark.parametrize(("users", "word"), [(["0a"], WAITING), (["0a", "1b"], WAITING), (["0a", "1b", "2c"], FAILING)])
def test_an_alarm_of_who_waited_in_vain_needs_several_users(users: list[str], word: str) -> None:
    new = evidence(200)
    for number in range(60):
        new.note(ABANDONED, 50.0, users[number % len(users)])
    assert verdict(ERROR_GUARD, {"v2": new}).word == word


def test_a_version_that_is_left_by_many_is_told_with_the_others() -> None:
    versions = {"v2": evidence(300, {1.0: 100}), "v1": evidence(90, {0.1: 10})}
    assert verdict(ERROR_GUARD, versions).reason == "25% of the clients leave v2 before it answers, 10% the others"


@pytest.mark.parametrize(
    ("guard", "versions", "word"),
    [
        (FIRST_TOKEN_GUARD, values(FIRST_TOKEN, v2={0.2: 198, 0.9: 2}), PASSING),
        (FIRST_TOKEN_GUARD, values(FIRST_TOKEN, v2={0.2: 185, 0.9: 15}), WAITING),
        (FIRST_TOKEN_GUARD, values(FIRST_TOKEN, v2={0.2: 140, 0.9: 60}), FAILING),
        (FIRST_TOKEN_GUARD, values(FIRST_TOKEN, v2={0.2: 99, 1e6: 1}), PASSING),  # no mean: one is one
        (FIRST_TOKEN_GUARD, values(FIRST_TOKEN, v2={0.2: 99}), WAITING),
        (RATIO_GUARD, values(PER_TOKEN, v1={0.02: 200}, v2={0.02: 200}), PASSING),
        (RATIO_GUARD, values(PER_TOKEN, v1={0.02: 200}, v2={0.03: 200}), FAILING),
        (RATIO_GUARD, values(PER_TOKEN, v1={0.02: 200}, v2={0.02: 95, 0.03: 105}), WAITING),
        (RATIO_GUARD, values(PER_TOKEN, v1={0.02: 50}, v2={0.02: 200}), WAITING),
        (RATIO_GUARD, values(PER_TOKEN, v2={0.03: 200}), WAITING),  # nothing to compare with
        (TOKENS_GUARD, values(OUTPUT_TOKENS, v1={200: 200}, v2={180: 200}), PASSING),
        (TOKENS_GUARD, values(OUTPUT_TOKENS, v1={200: 200}, v2={0: 200}), FAILING),
        (TOKENS_GUARD, values(OUTPUT_TOKENS, v1={200: 200}, v2={60: 200}), FAILING),
        (TOKENS_GUARD, values(OUTPUT_TOKENS, v1={200: 200}, v2={200: 99, 60: 101}), WAITING),
        (TOKENS_GUARD, values(OUTPUT_TOKENS, v1={0: 200}, v2={0: 200}), PASSING),
        (FEWEST_GUARD, values(OUTPUT_TOKENS, v2={30: 200}), PASSING),
        (FEWEST_GUARD, values(OUTPUT_TOKENS, v2={3: 200}), FAILING),
    ],
)
def test_quantiles(guard: Guard, versions: dict[str, VersionEvidence], word: str) -> None:
    assert verdict(guard, versions).word == word


@pytest.mark.parametrize(
    ("guard", "versions", "reason"),
    [
        (FIRST_TOKEN_GUARD, values(FIRST_TOKEN, v2={0.2: 200}), "201ms in 200 streamed answers of v2"),
        (FIRST_TOKEN_GUARD, values(FIRST_TOKEN, v2={1.7: 200}), "1.71s in 200 streamed answers of v2"),
        (FEWEST_GUARD, values(OUTPUT_TOKENS, v2={19: 200}), "19 tokens in 200 answers of v2"),
        (TOKENS_GUARD, values(OUTPUT_TOKENS, v1={19: 200}, v2={180: 200}), "183 tokens of v2 against 19 tokens of v1"),
        (RATIO_GUARD, values(PER_TOKEN, v1={0.02: 200}, v2={0.02: 200}), "20.2ms of v2 against 20.2ms of v1"),
    ],
)
def test_what_was_seen_has_a_unit(guard: Guard, versions: dict[str, VersionEvidence], reason: str) -> None:
    """Estimates are within 2 %."""
    step = StepEvidence("chat", 0, versions=versions)
    judge(step, plan(guard), 5, {}, 1)
    assert step.guards[0].reason == reason


@pytest.mark.parametrize("guard", [FIRST_TOKEN_GUARD, RATIO_GUARD, TOKENS_GUARD])
def test_keys_that_no_processor_of_ours_counts_are_no_measured_values(guard: Guard) -> None:
    """As one of another version may have."""
    made_up = {version: VersionEvidence(values={guard.metric: {10**9: 1000, -5000: 1000}}) for version in ("v1", "v2")}
    found = verdict(guard, made_up)
    assert (found.word, "0 of 100" in found.reason) == (WAITING, True)


def test_with_everybody_on_the_new_version_there_is_nobody_to_compare_with() -> None:
    worse = values(PER_TOKEN, v2={0.03: 200}, v1={0.02: 200})
    assert verdict(RATIO_GUARD, worse, 100).word == PASSING
    assert verdict(FIRST_TOKEN_GUARD, values(FIRST_TOKEN, v2={0.9: 200}), 100).word == FAILING


def test_a_query_fails_when_it_is_out_of_bounds_again_and_again() -> None:
    step = StepEvidence("chat", 0)

    def look(*queried: float | str) -> str:
        values = dict(zip([QUERY_GUARD.label], queried, strict=False))
        return judge(step, plan(QUERY_GUARD), 5, values, 1).word

    assert look() == WAITING
    assert step.guards[0].reason == "not asked yet"
    assert look(0.9) == PASSING
    assert [look(0.7), look(0.7), look(0.9)] == [WAITING, WAITING, PASSING]
    assert look("nobody there") == WAITING
    assert step.guards[0].reason == "no value: nobody there"
    assert look() == WAITING
    assert step.guards[0].reason == "no value: nobody there"
    assert look(float("nan")) == WAITING
    assert [look(0.7), look(0.7), look(0.7), look()] == [WAITING, WAITING, FAILING, FAILING]


def test_the_worst_guard_says_the_verdict_and_why() -> None:
    both = plan(ERROR_GUARD, FIRST_TOKEN_GUARD)
    step = StepEvidence("chat", 0, versions={"v2": VersionEvidence(200, 30, 200)})
    found = judge(step, both, 5, {}, 7)
    assert found == Verdict(FAILING, "errors ≤ 1%: 15% of 200 requests of v2")
    assert [(record.word, record.looks[0].at) for record in step.guards] == [(FAILING, 7), (WAITING, 7)]


@pytest.mark.parametrize(
    ("evidence", "told"),
    [
        (VersionEvidence(32, 10, 33), "31.2% of 32 requests of v2"),
        (VersionEvidence(33, 0, 32, 10), "31.2% of 32 requests of v2"),
        (VersionEvidence(40, 10, 50, 10), "45% of 50 requests of v2"),
        (VersionEvidence(300, 0, 299), "0% of 300 requests of v2"),
    ],
)
def test_a_share_of_failures_is_of_the_requests_that_are_named(evidence: VersionEvidence, told: str) -> None:
    step = StepEvidence("chat", 0, versions={"v2": evidence})
    judge(step, plan(ERROR_GUARD), 5, {}, 7)
    assert step.guards[0].reason == told


def test_looks_are_kept_in_bounds_and_the_last_one_always() -> None:
    step = StepEvidence("chat", 0)
    for at in range(1000):
        judge(step, plan(ERROR_GUARD), 5, {}, at)
    (record,) = step.guards
    assert len(record.looks) <= MAX_LOOKS
    assert record.looks[-1].at == 999


def test_the_level_is_shared_by_all_count_tests_all_steps() -> None:
    assert count_tests(plan(ERROR_GUARD, FIRST_TOKEN_GUARD, RATIO_GUARD, QUERY_GUARD)) == 5 * 5
    assert count_tests(plan(QUERY_GUARD)) == 1
    assert ALARM_LEVEL == 0.01

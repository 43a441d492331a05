"""Evidence adds up, in any order, and what was counted earlier can be taken away."""

from __future__ import annotations

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from extproc.policy.rollout_plan import FIRST_TOKEN, OUTPUT_TOKENS
from extproc.rollout.evidence import USER_GROUPS, ZERO, StepEvidence, VersionEvidence, bucket, in_groups, of_all

VALUES = st.lists(st.tuples(st.sampled_from([FIRST_TOKEN, OUTPUT_TOKENS]), st.floats(0, 1000)), max_size=20)


def evidence(values: list[tuple[str, float]]) -> VersionEvidence:
    found = VersionEvidence(requests=len(values), answers=len(values) // 2)
    for metric, value in values:
        found.note(metric, value, f"{int(value) % 256:02x}")
        if value > 500:
            found.fail(f"{value % 7:.0f}")
            found.fail_in_answer(f"{value % 3:.0f}")
    return found


def counted(one: VersionEvidence) -> tuple[object, ...]:
    by_user = one.failures_by_user, one.answer_failures_by_user
    kept: dict[str, dict[int, int] | dict[str, int]] = {
        **one.values,
        "by user": by_user[0],
        "answers by user": by_user[1],
    }
    values = {name: {n: c for n, c in counts.items() if c} for name, counts in kept.items()}
    return one.requests, one.failures, one.answers, one.answer_failures, {m: c for m, c in values.items() if c}


@given(VALUES, VALUES)
def test_sums_do_not_depend_on_who_counted(one: list[tuple[str, float]], two: list[tuple[str, float]]) -> None:
    whole, other = evidence(one), evidence(two)
    whole.add(evidence(two))
    other.add(evidence(one))
    assert counted(whole) == counted(other)
    assert whole.values == evidence([*one, *two]).values
    more = whole.since(evidence(two))
    assert counted(more) == counted(evidence(one))
    assert all(0 not in counts.values() for counts in more.values.values())


def test_values_are_told_apart_by_groups_of_users() -> None:
    found = VersionEvidence()
    for user, value in (("", 0.0), ("00", 1.0), ("10", 1.0), ("0f", 0.0), ("ff", 1e300), ("no word", 1e-300)):
        found.note(FIRST_TOKEN, value, user)
    groups = in_groups(found.values[FIRST_TOKEN])
    assert groups[0] == {ZERO: 1, bucket(1e-300): 1}
    assert groups[1] == {bucket(1.0): 2}
    assert groups[USER_GROUPS] == {ZERO: 1, bucket(1e300): 1}
    assert of_all(found.values[FIRST_TOKEN]) == {ZERO: 2, bucket(1.0): 2, bucket(1e300): 1, bucket(1e-300): 1}
    assert of_all({10**9: 1, -(10**9): 1}) == {}  # no process counts so


@given(VALUES)
def test_it_outlives_a_file_and_a_copy_is_another(values: list[tuple[str, float]]) -> None:
    step = StepEvidence("chat", 3.5, 1.0, {"v2": evidence(values)})
    assert msgspec.json.decode(msgspec.json.encode(step), type=StepEvidence) == step
    copied = step.versions["v2"].copy()
    assert counted(copied) == counted(step.versions["v2"])
    copied.note(FIRST_TOKEN, 1.0)
    assert copied.values != step.versions["v2"].values

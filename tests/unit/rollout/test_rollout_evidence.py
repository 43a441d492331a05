"""Evidence adds up, in any order, and what was counted earlier can be taken away."""

from __future__ import annotations

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from extproc.policy.rollout_plan import FIRST_TOKEN, OUTPUT_TOKENS
from extproc.rollout.evidence import StepEvidence, VersionEvidence

VALUES = st.lists(st.tuples(st.sampled_from([FIRST_TOKEN, OUTPUT_TOKENS]), st.floats(0, 1000)), max_size=20)


def evidence(values: list[tuple[str, float]]) -> VersionEvidence:
    found = VersionEvidence(requests=len(values), answers=len(values) // 2)
    for metric, value in values:
        found.note(metric, value)
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
    whole.add(evidence(two), -1)
    assert counted(whole) == counted(evidence(one))


@given(VALUES)
def test_it_outlives_a_file_and_a_copy_is_another(values: list[tuple[str, float]]) -> None:
    step = StepEvidence("chat", 3.5, 1.0, {"v2": evidence(values)})
    assert msgspec.json.decode(msgspec.json.encode(step), type=StepEvidence) == step
    copied = step.versions["v2"].copy()
    assert counted(copied) == counted(step.versions["v2"])
    copied.note(FIRST_TOKEN, 1.0)
    assert copied.values != step.versions["v2"].values

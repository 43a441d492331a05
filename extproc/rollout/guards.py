"""Guards of a rollout, judged on what was measured in its present step.

A guard *fails* where a sequential test has shown that it is broken (``verdict``), which it may at any look. It *passes*
where enough was measured and the estimate is within it: good evidence that something is fine would take many times as
many requests as evidence that it is not. Else it *waits*.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import isfinite

from extproc.policy.rollout_plan import ERRORS, Guard, RolloutPlan
from extproc.rollout.evidence import GuardRecord, Look, StepEvidence, VersionEvidence
from extproc.rollout.steps import FAILING, PASSING, WAITING, Verdict
from extproc.rollout.verdict import count_above, count_below, exceeds, quantile, quantile_bounds

ALARM_LEVEL = 0.01
"""Probability that a rollout is ever found broken while all that its tests look at is within their bounds."""
LOOKS_TO_FAIL = 3
"""Looks in a row at which a query's value must be out of bounds: nothing is known of its noise."""
MAX_LOOKS = 120
"""Looks that are kept of a guard; beyond, every second is dropped."""
_RESOLUTION = 1.02
"""Quotients of estimates are exact within this factor (``evidence.GROWTH``)."""


def count_tests(plan: RolloutPlan) -> int:
    """Tests among which ``ALARM_LEVEL`` is divided: those of all guards at all steps."""
    return max(1, sum(_tests(guard) for guard in plan.guards) * len(plan.steps))


def _tests(guard: Guard) -> int:
    """Errors by Envoy's account and by what answers tell; both quantiles of a quotient."""
    if guard.promql:
        return 0
    return 2 if guard.metric == ERRORS or guard.relative_to else 1


def judge(
    step: StepEvidence, plan: RolloutPlan, percent: int, queried: Mapping[str, float | None], now: float
) -> Verdict:
    """The verdict of all guards, each of which is noted in ``step.guards``.

    ``queried``: values of the queries that were asked at this look; None where there was no answer that could be used.
    """
    level = ALARM_LEVEL / count_tests(plan)
    known = {record.label: record for record in step.guards}
    step.guards = [known.get(guard.label) or GuardRecord(guard.label) for guard in plan.guards]
    found = []
    for guard, record in zip(plan.guards, step.guards, strict=True):
        if guard.promql:
            verdict = _judge_query(guard, record, queried)
        elif guard.relative_to and percent >= plan.steps[-1]:
            record.value, verdict = None, Verdict(PASSING, f"nobody is left on {guard.relative_to} to compare with")
        elif guard.metric == ERRORS:
            verdict = _judge_errors(guard, record, _evidence(step, plan.to), plan, level)
        elif guard.relative_to:
            verdict = _judge_ratio(guard, record, step, plan, level)
        else:
            verdict = _judge_quantile(guard, record, _evidence(step, plan.to), plan, level)
        record.word, record.reason = verdict.word, verdict.reason
        if not guard.promql or guard.label in queried:
            _look(record, now)
        found.append(Verdict(verdict.word, f"{guard.label}: {verdict.reason}"))
    for word in (FAILING, WAITING):
        if reasons := [verdict.reason for verdict in found if verdict.word == word]:
            return Verdict(word, "; ".join(reasons))
    return Verdict(PASSING, "every guard holds")


def _evidence(step: StepEvidence, version: str) -> VersionEvidence:
    return step.versions.get(version) or VersionEvidence()


def _judge_errors(guard: Guard, record: GuardRecord, new: VersionEvidence, plan: RolloutPlan, level: float) -> Verdict:
    bound = guard.maximum or 0.0
    by_account, by_answer = _share(new.failures, new.requests), _share(new.answer_failures, new.answers)
    record.value = by_account + by_answer if new.requests else None
    text = f"{100 * (by_account + by_answer):.3g}% of {new.requests} requests of {plan.to}"
    if exceeds(new.failures, new.requests, bound, level) or exceeds(new.answer_failures, new.answers, bound, level):
        return Verdict(FAILING, text)
    if short := _too_few(min(new.requests, new.answers), plan, plan.to):
        return short
    return Verdict(PASSING if by_account + by_answer <= bound else WAITING, text)


def _judge_quantile(
    guard: Guard, record: GuardRecord, new: VersionEvidence, plan: RolloutPlan, level: float
) -> Verdict:
    """A quantile against a bound: more than the share that may be is beyond it."""
    values = new.values.get(guard.metric, {})
    total = sum(values.values())
    record.value = quantile(values, guard.quantile)
    if guard.maximum is not None:
        beyond, allowed = count_above(values, guard.maximum), 1 - guard.quantile
    else:
        beyond, allowed = count_below(values, guard.minimum or 0.0), guard.quantile
    text = f"{record.value or 0:.3g} of {total} answers of {plan.to}"
    if exceeds(beyond, total, allowed, level):
        return Verdict(FAILING, text)
    if short := _too_few(total, plan, plan.to):
        return short
    return Verdict(PASSING if beyond <= allowed * total else WAITING, text)


def _judge_ratio(guard: Guard, record: GuardRecord, step: StepEvidence, plan: RolloutPlan, level: float) -> Verdict:
    """A quantile of the new version against that of another in the same time."""
    ours = _evidence(step, plan.to).values.get(guard.metric, {})
    theirs = _evidence(step, guard.relative_to).values.get(guard.metric, {})
    here, there = quantile(ours, guard.quantile), quantile(theirs, guard.quantile)
    record.value = here / there if here is not None and there else None
    text = f"{here or 0:.3g} of {plan.to} against {there or 0:.3g} of {guard.relative_to}"
    lowest, highest = quantile_bounds(ours, guard.quantile, level)
    lowest_there, highest_there = quantile_bounds(theirs, guard.quantile, level)
    if guard.max_ratio is not None and lowest > guard.max_ratio * highest_there:
        return Verdict(FAILING, text)
    if guard.min_ratio is not None and highest < guard.min_ratio * lowest_there:
        return Verdict(FAILING, text)
    for version, values in ((plan.to, ours), (guard.relative_to, theirs)):
        if short := _too_few(sum(values.values()), plan, version):
            return short
    here, there = here or 0.0, there or 0.0
    holds = here <= (guard.max_ratio * there * _RESOLUTION if guard.max_ratio is not None else here)
    holds = holds and here * _RESOLUTION >= (guard.min_ratio * there if guard.min_ratio is not None else 0)
    return Verdict(PASSING if holds else WAITING, text)


def _judge_query(guard: Guard, record: GuardRecord, queried: Mapping[str, float | None]) -> Verdict:
    if guard.label in queried:
        value = queried[guard.label]
        record.value = value if value is not None and isfinite(value) else None
        record.outside = record.outside + 1 if record.value is not None and not _within(guard, record.value) else 0
    if record.value is None:
        return Verdict(WAITING, "no answer that can be used")
    text = f"{record.value:.4g}"
    if record.outside >= LOOKS_TO_FAIL:
        return Verdict(FAILING, f"{text} at {record.outside} looks in a row")
    return Verdict(WAITING if record.outside else PASSING, text)


def _within(guard: Guard, value: float) -> bool:
    return (guard.maximum is None or value <= guard.maximum) and (guard.minimum is None or value >= guard.minimum)


def _too_few(number: int, plan: RolloutPlan, version: str) -> Verdict | None:
    if number >= plan.min_requests:
        return None
    return Verdict(WAITING, f"{number} of {plan.min_requests} requests of {version} are measured")


def _share(hits: int, trials: int) -> float:
    return hits / trials if trials else 0.0


def _look(record: GuardRecord, now: float) -> None:
    record.looks.append(Look(now, record.value))
    if len(record.looks) > MAX_LOOKS:
        del record.looks[::2]

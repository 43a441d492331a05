"""Guards of a rollout, judged on what was measured in its present step.

A guard *fails* where a sequential test has shown that it is broken (``verdict``), which it may at any look. It *passes*
where enough was measured and the estimate is within it: good evidence that something is fine would take many times as
many requests as evidence that it is not. Else it *waits*.

A client that leaves before an answer has begun says little: it may do so whenever it likes. Only that it waited for
longer than any answer takes (``PATIENCE``) is evidence, of a failure and of a late first token: no client can make that
up. And where many more leave the new version than leave the others, the rollout waits, whatever its guards say.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import isfinite

from extproc.policy.rollout_plan import ERRORS, FIRST_TOKEN, OUTPUT_TOKENS, Guard, RolloutPlan, quantity
from extproc.rollout.evidence import (
    ABANDONED,
    DURATION,
    GuardRecord,
    Look,
    StepEvidence,
    ValuesByGroup,
    VersionEvidence,
    in_groups,
    of_all,
)
from extproc.rollout.steps import FAILING, PASSING, WAITING, Verdict
from extproc.rollout.verdict import (
    count_above,
    count_below,
    exceeds,
    exceeds_without_any,
    quantile,
    quantile_bounds,
)

ALARM_LEVEL = 0.01
"""Probability that a rollout is ever found broken while all that its tests look at is within their bounds."""
LOOKS_TO_FAIL = 3
"""Looks in a row at which a query's value must be out of bounds: nothing is known of its noise."""
MAX_LOOKS = 120
"""Looks that are kept of a guard; beyond, every second is dropped."""
PATIENCE = 2.0
"""Times the p99 of what whole answers take, of all versions: who has waited for longer was not being answered."""
_FEW_USERS = 2
"""Users of whom alone no failures count: an alarm holds without those that have the most; of clients that left, without
the groups of users that do.
"""
_MORE_LEFT, _LEFT_WITHOUT_OTHERS = 2.0, 0.1
"""The share of clients that may leave the new version without an answer: so many times that of the other versions, or
where nobody is on these, this."""
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
    step: StepEvidence, plan: RolloutPlan, percent: int, queried: Mapping[str, float | str], now: float
) -> Verdict:
    """The verdict of all guards, each of which is noted in ``step.guards``.

    ``queried``: values of the queries that were asked at this look; a text where there is none, and says why.
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
            verdict = _judge_errors(guard, record, step, plan, level)
        elif guard.relative_to:
            verdict = _judge_ratio(guard, record, step, plan, level)
        else:
            verdict = _judge_quantile(guard, record, step, plan, level)
        record.word, record.reason = verdict.word, verdict.reason
        if not guard.promql or guard.label in queried:
            _look(record, now)
        found.append(Verdict(verdict.word, f"{guard.label}: {verdict.reason}"))
    for word in (FAILING, WAITING):
        if reasons := [verdict.reason for verdict in found if verdict.word == word]:
            return Verdict(word, "; ".join(reasons))
    return _unless_clients_leave(step, plan) or Verdict(PASSING, "every guard holds")


def _evidence(step: StepEvidence, version: str) -> VersionEvidence:
    return step.versions.get(version) or VersionEvidence()


def _judge_errors(guard: Guard, record: GuardRecord, step: StepEvidence, plan: RolloutPlan, level: float) -> Verdict:
    new = _evidence(step, plan.to)
    by_group = [sum(group.values()) for group in in_groups(_waited_in_vain(step, new))]
    bound, in_vain, in_vain_of_few = guard.maximum or 0.0, sum(by_group), sum(sorted(by_group[1:])[-_FEW_USERS:])
    failures, answers = new.answer_failures + in_vain, new.answers + in_vain
    by_account, by_answer = _share(new.failures, new.requests), _share(failures, answers)
    record.value = by_account + by_answer if new.requests or answers else None
    # Accounts and answers come at different times: what is told is a share of those among which failures are.
    failing = [trials for share, trials in ((by_account, new.requests), (by_answer, answers)) if share]
    counted = max(failing or (new.requests, answers))
    text = f"{100 * (by_account + by_answer):.3g}% of {counted} requests of {plan.to}"
    alarms = 0
    for hits, trials, by_user, of_few in (
        (new.failures, new.requests, new.failures_by_user, 0),
        (failures, answers, new.answer_failures_by_user, in_vain_of_few),
    ):
        of_few += sum(sorted(by_user.values())[-_FEW_USERS:])
        if exceeds(hits - of_few, trials - of_few, bound, level):
            return Verdict(FAILING, text)
        alarms += exceeds(hits, trials, bound, level)
    if alarms:
        return Verdict(WAITING, f"{text}, which are of too few users")
    if short := _too_few(min(new.requests, answers), plan, f"requests of {plan.to}"):
        return short
    return Verdict(PASSING if by_account + by_answer <= bound else WAITING, text)


def _judge_quantile(guard: Guard, record: GuardRecord, step: StepEvidence, plan: RolloutPlan, level: float) -> Verdict:
    """A quantile against a bound: more than the share that may be is beyond it."""
    values = _values(guard, step, plan.to)
    groups, whole = in_groups(values), of_all(values)
    record.value, total = quantile(whole, guard.quantile), sum(whole.values())
    if guard.maximum is not None:
        beyond, allowed = [count_above(group, guard.maximum) for group in groups], 1 - guard.quantile
    else:
        beyond, allowed = [count_below(group, guard.minimum or 0.0) for group in groups], guard.quantile
    what = f"{_ANSWERS.get(guard.metric, 'streamed answers')} of {plan.to}"
    text = f"{total} {what}" if record.value is None else f"{_shown(guard, record.value)} in {total} {what}"
    if exceeds_without_any(beyond, [sum(group.values()) for group in groups], allowed, level):
        return Verdict(FAILING, text)
    if short := _too_few(total, plan, what):
        return short
    return Verdict(PASSING if sum(beyond) <= allowed * total else WAITING, text)


def _judge_ratio(guard: Guard, record: GuardRecord, step: StepEvidence, plan: RolloutPlan, level: float) -> Verdict:
    """A quantile of the new version against that of another in the same time."""
    ours, theirs = _values(guard, step, plan.to), _values(guard, step, guard.relative_to)
    all_of = of_all(ours), of_all(theirs)
    here, there = [quantile(whole, guard.quantile) for whole in all_of]
    record.value = here / there if here is not None and there else None
    text = f"{_shown(guard, here)} of {plan.to} against {_shown(guard, there)} of {guard.relative_to}"
    if here is not None and there is not None and not _holds(guard, (here, here), (there, there)):
        bounds = [quantile_bounds(in_groups(values), guard.quantile, level) for values in (ours, theirs)]
        if not _holds(guard, *bounds):
            return Verdict(FAILING, text)
    for version, whole in zip((plan.to, guard.relative_to), all_of, strict=True):
        what = f"{_ANSWERS.get(guard.metric, 'streamed answers')} of {version}"
        if short := _too_few(sum(whole.values()), plan, what):
            return short
    here, there = here or 0.0, there or 0.0
    holds = here <= (guard.max_ratio * there * _RESOLUTION if guard.max_ratio is not None else here)
    holds = holds and here * _RESOLUTION >= (guard.min_ratio * there if guard.min_ratio is not None else 0)
    return Verdict(PASSING if holds else WAITING, text)


def _holds(guard: Guard, here: tuple[float, float], there: tuple[float, float]) -> bool:
    """Whether a quotient may be within its bounds: of quantiles each of which is between two numbers."""
    if guard.max_ratio is not None and here[0] > guard.max_ratio * there[1]:
        return False
    return guard.min_ratio is None or here[1] >= guard.min_ratio * there[0]


def _shown(guard: Guard, value: float | None) -> str:
    return "nothing" if value is None else quantity(guard.metric, value, 3)


def _judge_query(guard: Guard, record: GuardRecord, queried: Mapping[str, float | str]) -> Verdict:
    if guard.label in queried:
        value = queried[guard.label]
        record.value = value if isinstance(value, float) and isfinite(value) else None
        record.reason = f"no value: {value}"
        record.outside = record.outside + 1 if record.value is not None and not _within(guard, record.value) else 0
    if record.value is None:
        return Verdict(WAITING, record.reason or "not asked yet")
    text = f"{record.value:.4g}"
    if record.outside >= LOOKS_TO_FAIL:
        return Verdict(FAILING, f"{text} at {record.outside} looks in a row")
    return Verdict(WAITING if record.outside else PASSING, text)


def _within(guard: Guard, value: float) -> bool:
    return (guard.maximum is None or value <= guard.maximum) and (guard.minimum is None or value >= guard.minimum)


def _unless_clients_leave(step: StepEvidence, plan: RolloutPlan) -> Verdict | None:
    """None unless many more clients leave the new version without an answer than leave the others."""
    here = _share_left(_evidence(step, plan.to))
    others = VersionEvidence()
    for version, evidence in step.versions.items():
        if version != plan.to:
            others.add(evidence)
    allowed = max((guard.maximum or 0.0 for guard in plan.guards if guard.metric == ERRORS), default=0.01)
    allowed += _MORE_LEFT * _share_left(others) if others.answers else _LEFT_WITHOUT_OTHERS
    if here <= allowed:
        return None
    compared = f", {100 * _share_left(others):.3g}% the others" if others.answers else ""
    return Verdict(WAITING, f"{100 * here:.3g}% of the clients leave {plan.to} before it answers{compared}")


def _share_left(evidence: VersionEvidence) -> float:
    left = sum(evidence.values.get(ABANDONED, {}).values())
    return _share(left, left + evidence.answers)


def _waited_in_vain(step: StepEvidence, evidence: VersionEvidence) -> ValuesByGroup:
    """How long clients waited that left without an answer when nobody is answered any more."""
    left = evidence.values.get(ABANDONED)
    if not left:
        return {}
    whole = VersionEvidence()
    for each in step.versions.values():
        whole.add(each)
    longest = quantile(of_all(whole.values.get(DURATION, {})), 0.99)
    if longest is None:
        return {}
    return {key: count for key, count in left.items() if count_above(of_all({key: 1}), PATIENCE * longest)}


def _values(guard: Guard, step: StepEvidence, version: str) -> ValuesByGroup:
    """A version's values of the guard's metric; first tokens that did not come are as late as they were waited for."""
    evidence = _evidence(step, version)
    values = evidence.values.get(guard.metric, {})
    if guard.metric != FIRST_TOKEN or not (in_vain := _waited_in_vain(step, evidence)):
        return values
    return {number: values.get(number, 0) + in_vain.get(number, 0) for number in values.keys() | in_vain.keys()}


_ANSWERS = {OUTPUT_TOKENS: "answers"}
"""What has values of a metric."""


def _too_few(number: int, plan: RolloutPlan, what: str) -> Verdict | None:
    if number >= plan.min_requests:
        return None
    return Verdict(WAITING, f"{number} of {plan.min_requests} {what} are measured")


def _share(hits: int, trials: int) -> float:
    return hits / trials if trials else 0.0


def _look(record: GuardRecord, now: float) -> None:
    record.looks.append(Look(now, record.value))
    if len(record.looks) > MAX_LOOKS:
        del record.looks[::2]

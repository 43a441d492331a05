"""``rollout`` of a policy: to which version, by which steps, under which guards."""

from __future__ import annotations

import re
from collections.abc import Sequence

from extproc.policy.rollout_plan import (
    COMPLETED,
    DEFAULT_INTERVAL,
    DEFAULT_MIN_REQUESTS,
    DEFAULT_PROMETHEUS,
    DEFAULT_STEPS,
    ERRORS,
    EXPONENTIAL_STEPS,
    METRICS,
    OUTPUT_TOKENS,
    Guard,
    RolloutPlan,
    RolloutState,
)
from extproc.policy.snapshot import Policy
from extproc.policyfile import endpoints, quantities_and_durations, values
from extproc.policyfile.fields import Field, Fields, suggestion
from extproc.rollout.steps import completed_weights
from extproc.yamldoc import Mapping, Scalar, quoted

MAX_GUARDS = 32
_PERCENT = re.compile(r"([0-9]{1,3}(?:\.[0-9]{1,6})?)\s?%")
_MAX_QUERY = 2000
"""Characters."""


def read(field: Field) -> RolloutPlan | None:
    """The plan in the mapping ``field``; None where it has no version or no guard that can be used."""
    fields = field.fields("to", "steps", "interval", "minRequests", "guards", "onFailure", "prometheus")
    if fields is None:
        return None
    to = fields.required("to", values.name, "name the new version: to: v2")
    remedy = "say what must hold of it: guards: [{metric: errors, max: 1%}]"
    guards = fields.required("guards", _guards, remedy)
    if guards and any(guard.promql for guard in guards) and "prometheus" not in fields:
        field.warn(f"asks the Prometheus at {DEFAULT_PROMETHEUS}", "name another one, or this one: prometheus: URL")
    plan = RolloutPlan(
        to or "",
        guards or (),
        fields.optional("steps", _steps, DEFAULT_STEPS),
        fields.optional("interval", quantities_and_durations.duration, DEFAULT_INTERVAL),
        fields.optional("minRequests", lambda f: f.integer(1, 1_000_000), DEFAULT_MIN_REQUESTS),
        fields.optional("onFailure", lambda f: f.choice("rollback", "pause"), "rollback") == "rollback",
        fields.optional("prometheus", _url, DEFAULT_PROMETHEUS),
    )
    return plan if to and guards else None


def new_version(spec: Field) -> str:
    """The text at ``rollout.to`` of a spec, for whoever reads its versions; empty where there is none."""
    node = spec.at("rollout", "to").node if spec.at("rollout").has("to") else None
    return node.text if isinstance(node, Scalar) else ""


def check(spec: Field, policy: Policy) -> None:
    """The plan against the policy's versions."""
    plan, field = policy.rollout, spec.at("rollout")
    if plan is None:  # what is wrong with its guards is said; the version may be wrong, too
        if (name := new_version(spec)) and field.at("to").clean:
            _check_name(field.at("to"), name, policy)
        return
    if not _check_name(field.at("to"), plan.to, policy):
        return
    written = spec.at("versions", [version.name for version in policy.versions].index(plan.to))
    if policy.by_name[plan.to].weight and written.has("weight"):
        message = "the rollout says which share it gets"
        written.at("weight").error(message, "write weight: 0; when the rollout is completed, its share and no rollout")
    if not any(version.weight for version in policy.answering if version.name != plan.to):
        field.at("to").error("no other version has a weight: there is nothing to roll out from", "give one a weight")
    if policy.sticky and policy.default not in ("", plan.to):
        message = f"requests without a key stay on {policy.default}, and are no part of the rollout"
        field.warn(message, f"change default to {plan.to} when it is completed, or remove default")
    compared_with = {guard.relative_to for guard in plan.guards if guard.relative_to}
    for guard in field.at("guards").children:  # the plan has only those that could be read
        place = guard.at("relativeTo")
        name = place.node.text if guard.has("relativeTo") and isinstance(place.node, Scalar) else ""
        if name not in compared_with:
            continue
        if name == plan.to:
            place.error("is the new version itself", "name the version that serves now")
        else:
            _check_name(place, name, policy)


def check_completed(spec: Field, policy: Policy, state: RolloutState | None) -> None:
    """Whether the file gives requests to the version that a completed rollout led to; ``policy``: as it is written."""
    if state is None or state.phase != COMPLETED or (policy.rollout and policy.rollout.to != state.to):
        return
    version = policy.by_name.get(state.to)
    if version is None or version.weight:
        return
    weights = completed_weights(policy, state.to)
    field = spec.at("versions", policy.versions.index(version))
    if policy.rollout:
        message = f"the rollout to {state.to} is completed, and without it the version would get nothing"
        field.warn(message, f"write {weights}, and remove rollout")
    else:
        message = f"the completed rollout gave the version {state.to} every request; without it, its weight is 0"
        field.warn(message, f"write {weights}")


def _check_name(field: Field, name: str, policy: Policy) -> bool:
    if name in policy.by_name:
        return True
    if any(version.name == name for version in policy.mirrors):
        field.error(f"the version {name} is a mirror: it answers nobody", "name a version that answers")
    else:
        field.error(f"no version named {quoted(name)} is declared", suggestion(name, policy.by_name))
    return False


def _steps(field: Field) -> tuple[int, ...] | None:
    if isinstance(field.node, Mapping):
        fields = field.fields("ratio")
        remedy = "write steps: {ratio: exponential}, or a list"
        kind = fields.required("ratio", lambda f: f.choice("exponential"), remedy) if fields else None
        return EXPONENTIAL_STEPS if kind else None
    steps = tuple(step for one in field.items(minimum=1) if (step := one.integer(1, 100)) is not None)
    if not field.clean or not steps:
        return None
    if list(steps) != sorted(set(steps)):
        field.error("the steps do not ascend", "write each larger than the one before: [1, 5, 25, 50, 100]")
        return None
    if steps[-1] != 100:
        field.error(f"the last step is {steps[-1]}", "end with 100: the rollout is completed there")
        return None
    return steps


def _guards(field: Field) -> tuple[Guard, ...] | None:
    guards = field.distinct(_guard, "guard", minimum=1)
    if len(guards) > MAX_GUARDS:
        field.error(f"{len(guards)} guards are too many", f"give at most {MAX_GUARDS}")
    return guards or None


def _guard(field: Field) -> Guard | None:
    fields = field.fields("metric", "promql", "quantile", "max", "min", "relativeTo", "maxRatio", "minRatio")
    if fields is None:
        return None
    if ("metric" in fields) == ("promql" in fields):
        remedy = f"give one of the two: metric: {' | '.join(METRICS)}, or promql: 'a query'"
        field.error("has metric and promql" if "metric" in fields else "has neither metric nor promql", remedy)
        return None
    if "promql" in fields:
        return _query(fields)
    metric = fields.required("metric", lambda f: f.choice(*METRICS), "")
    if metric is None:
        return None
    return _errors(fields) if metric == ERRORS else _quantile(fields, metric)


def _query(fields: Fields) -> Guard | None:
    _refuse(fields, "a query", ("quantile", "relativeTo", "maxRatio", "minRatio"))
    query = fields.required("promql", _query_text, "")
    least = fields.optional("min", lambda f: f.number(-1e15, 1e15), None)
    most = fields.optional("max", lambda f: f.number(-1e15, 1e15), None)
    if least is None and most is None and fields.field.clean:
        fields.field.error("has no bound", "give min, max or both")
    return Guard(promql=query, minimum=least, maximum=most) if query and fields.field.clean else None


def _errors(fields: Fields) -> Guard | None:
    _refuse(fields, "errors", ("quantile", "min", "relativeTo", "maxRatio", "minRatio"))
    most = fields.required("max", _percent, "give the share that may fail: max: 1%")
    return None if most is None else Guard(metric=ERRORS, maximum=most)


def _quantile(fields: Fields, metric: str) -> Guard | None:
    """Times have an upper bound, tokens a lower one: fewer of them are no harm."""
    tokens = metric == OUTPUT_TOKENS
    bound, ratio = ("min", "minRatio") if tokens else ("max", "maxRatio")
    _refuse(fields, metric, ("max", "maxRatio") if tokens else ("min", "minRatio"))
    percentile = fields.required("quantile", lambda f: f.number(1, 99.9), "give the percentile: quantile: 95")
    reader = (lambda f: f.number(1, 1e9)) if tokens else quantities_and_durations.duration
    absolute = fields.optional(bound, reader, None)
    factor = fields.optional(ratio, lambda f: f.number(0.01, 100), None)
    relative_to = fields.optional("relativeTo", values.name, "")
    if ("relativeTo" in fields) != (ratio in fields) or (bound in fields) == (ratio in fields):
        remedy = f"give {bound}, or relativeTo and {ratio}"
        fields.field.error("is to be compared with one thing: a bound, or another version", remedy)
    if percentile is None or not fields.field.clean:
        return None
    q = percentile / 100
    if tokens:
        return Guard(metric=metric, quantile=q, minimum=absolute, relative_to=relative_to, min_ratio=factor)
    return Guard(metric=metric, quantile=q, maximum=absolute, relative_to=relative_to, max_ratio=factor)


def _refuse(fields: Fields, what: str, names: Sequence[str]) -> None:
    for name in names:
        if name in fields:
            fields.field.at(name).error(f"{what} has no {name}", "remove it")


def _percent(field: Field) -> float | None:
    """A share above 0 and at most 0.5."""
    text = field.scalar("a percentage such as 1%")
    if text is None:
        return None
    match = _PERCENT.fullmatch(text)
    if match is None:
        field.error(f"{quoted(text)} is no percentage", f"write it with its sign: {_as_percent(text)}")
        return None
    share = float(match[1]) / 100
    if not 0.0001 <= share <= 0.5:
        field.error(f"{text} is out of range", "give 0.01% to 50%")
        return None
    return share


def _as_percent(text: str) -> str:
    """What whoever wrote a share or a bare number meant."""
    try:
        number = float(text)
    except ValueError:
        return "1%"
    return f"{100 * number:.6g}%" if 0 < number < 1 else f"{number:.6g}%" if 1 <= number <= 50 else "1%"


def _query_text(field: Field) -> str | None:
    text = field.text("a query of Prometheus")
    if text is not None and len(text) > _MAX_QUERY:
        field.error(f"has {len(text)} characters", f"give at most {_MAX_QUERY}; a recording rule gives it a name")
        return None
    return text


def _url(field: Field) -> str | None:
    text = endpoints.url(field, "a base URL: http://prometheus:9090, and a path where it has one")
    if text is not None and ("?" in text or "#" in text):
        field.error(f"{quoted(text)} is no base URL", "leave out the query, and what follows #")
        return None
    return text and text.rstrip("/")

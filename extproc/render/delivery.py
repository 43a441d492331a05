"""Guards of a rollout as others ask for them: Flagger's MetricTemplates, Argo Rollouts' AnalysisTemplates.

Both ask a Prometheus that scrapes the processors. Each guard becomes a query that gives one number, or nothing where
there is none yet. Prometheus has no histogram of tokens, so that guards of tokens compare averages.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import msgspec

from extproc.policy.rollout_plan import (
    DEFAULT_PROMETHEUS,
    ERRORS,
    FIRST_TOKEN,
    OUTPUT_TOKENS,
    PER_TOKEN,
    Guard,
)
from extproc.policy.snapshot import Policy, Snapshot
from extproc.render.document import Doc
from extproc.render.prometheus.metric_sources import BROKEN, FAILED, inference
from extproc.render.prometheus.promql import number, rate, select

DEFAULT_GUARDS = (
    Guard(metric=ERRORS, maximum=0.01),
    Guard(metric=FIRST_TOKEN, quantile=0.95, maximum=0.5),
    Guard(metric=PER_TOKEN, quantile=0.5, maximum=0.1),
    Guard(metric=OUTPUT_TOKENS, quantile=0.5, minimum=1),
)
"""Of policies without a rollout of their own, as those have whose weights another tool moves."""
MAX_FAILURES, MAX_INCONCLUSIVE = 2, 10
"""Of an AnalysisTemplate's measurements of a guard."""
_KNOWN = "len(result) > 0 && !isNaN(result[0])"
"""In Argo's expression language: there is an answer."""
_BUCKETS = {
    FIRST_TOKEN: "inference_time_to_first_token_seconds_bucket",
    PER_TOKEN: "inference_time_per_output_token_seconds_bucket",
}


class Query(msgspec.Struct, frozen=True):
    """What Prometheus is asked, and between which bounds its answer must be; None: there is none."""

    name: str
    """A name of Kubernetes, without the policy's."""
    promql: str
    minimum: float | None
    maximum: float | None


def queries(policy: Policy, version: str, window: str) -> list[Query]:
    """A query for each guard of the policy's rollout, else for the default ones. ``version`` and ``window``: as texts,
    or places that the tool fills in.
    """
    guards = policy.rollout.guards if policy.rollout else DEFAULT_GUARDS
    found = [_query(policy, guard, version, window) for guard in guards]
    taken: dict[str, int] = {}
    for at, query in enumerate(found):
        taken[query.name] = taken.get(query.name, 0) + 1
        if taken[query.name] > 1:
            found[at] = msgspec.structs.replace(query, name=f"{query.name}-{taken[query.name]}")
    return found


def flagger(snapshot: Snapshot, address: str = "") -> Iterator[Doc]:
    """A MetricTemplate for each guard. A Canary names it, the version in ``templateVariables`` and its bound in
    ``thresholdRange``. ``address``: of Prometheus; empty: the rollout's own.
    """
    for policy in snapshot.policies:
        for query in queries(policy, "{{ variables.version }}", "{{ interval }}"):
            yield {
                "apiVersion": "flagger.app/v1beta1",
                "kind": "MetricTemplate",
                "metadata": _metadata(policy, f"{_name(policy.name)}-{query.name}"),
                "spec": {
                    "provider": {"type": "prometheus", "address": _address(policy, address)},
                    "query": query.promql,
                },
            }


def argo(snapshot: Snapshot, address: str = "") -> Iterator[Doc]:
    """An AnalysisTemplate for each policy, whose argument ``version`` is the new one; a metric for each guard. While
    there is no answer, or none that is a number, a measurement is inconclusive.
    """
    for policy in snapshot.policies:
        interval = f"{policy.rollout.interval:g}s" if policy.rollout else "1m"
        yield {
            "apiVersion": "argoproj.io/v1alpha1",
            "kind": "AnalysisTemplate",
            "metadata": _metadata(policy, _name(policy.name)),
            "spec": {
                "args": [{"name": "version"}, {"name": "window", "value": "5m"}],
                "metrics": [
                    {
                        "name": query.name,
                        "interval": interval,
                        "failureLimit": MAX_FAILURES,
                        "inconclusiveLimit": MAX_INCONCLUSIVE,
                        "successCondition": f"{_KNOWN} && {_within(query)}",
                        "failureCondition": f"{_KNOWN} && !{_within(query)}",
                        "provider": {"prometheus": {"address": _address(policy, address), "query": query.promql}},
                    }
                    for query in queries(policy, "{{args.version}}", "{{args.window}}")
                ],
            },
        }


def _within(query: Query) -> str:
    bounds = [f"result[0] >= {number(query.minimum)}"] if query.minimum is not None else []
    bounds += [f"result[0] <= {number(query.maximum)}"] if query.maximum is not None else []
    return f"({' && '.join(bounds)})"


def _query(policy: Policy, guard: Guard, version: str, window: str) -> Query:
    if guard.promql:
        return Query("query", guard.promql, guard.minimum, guard.maximum)
    name = _name(guard.metric)
    if guard.metric == ERRORS:
        return Query(name, _errors(policy, version, window), None, guard.maximum)
    name += "" if guard.metric == OUTPUT_TOKENS else f"-p{100 * guard.quantile:g}".replace(".", "-")
    value = _value(policy, guard, version, window)
    if guard.relative_to:
        other = _value(policy, guard, guard.relative_to, window)
        return Query(f"{name}-by-{_name(guard.relative_to)}", f"{value}\n/ {other}", guard.min_ratio, guard.max_ratio)
    return Query(name, value, guard.minimum, guard.maximum)


def _errors(policy: Policy, version: str, window: str) -> str:
    """The share of requests that fail."""
    of = _of(policy, version)
    failed = rate(select("inference_requests_total", *of, FAILED), window)
    broken = rate(select("inference_errors_total", *of, BROKEN), window)
    every = rate(select("inference_requests_total", *of), window)
    return f"((sum({failed}) or vector(0)) + (sum({broken}) or vector(0)))\n/ (sum({every}) > 0)"


def _value(policy: Policy, guard: Guard, version: str, window: str) -> str:
    of = _of(policy, version)
    if guard.metric == OUTPUT_TOKENS:
        tokens = rate(select("inference_tokens_total", *of, 'type="output"'), window)
        answers = rate(select("inference_requests_total", *of, 'code=~"2.."'), window)
        return f"((sum({tokens}) or vector(0)) / (sum({answers}) > 0))"
    buckets = rate(select(_BUCKETS[guard.metric], *of), window)
    return f"histogram_quantile({number(guard.quantile)}, sum by (le) ({buckets}))"


def _of(policy: Policy, version: str) -> tuple[str, str]:
    return inference(policy), f'version="{version}"'


def _address(policy: Policy, address: str) -> str:
    return address or (policy.rollout.prometheus if policy.rollout else DEFAULT_PROMETHEUS)


def _metadata(policy: Policy, name: str) -> Doc:
    return {"name": name, **({"namespace": policy.namespace} if policy.namespace else {})}


def _name(text: str) -> str:
    """A name of Kubernetes: ``timeToFirstToken`` becomes ``time-to-first-token``."""
    kebab = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "-", text).lower()
    return re.sub(r"[^a-z0-9]+", "-", kebab).strip("-")

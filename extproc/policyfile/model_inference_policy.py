"""A document of kind ``ModelInferencePolicy``, but for its versions."""

from __future__ import annotations

from extproc.policy import gpu
from extproc.policy.circuit_breaker import CircuitBreaker
from extproc.policy.custom_metric import CustomMetric
from extproc.policy.load_balancer import LEAST_REQUEST
from extproc.policy.snapshot import DEFAULT_BODY_LIMIT, Policy, RetryBudget, Slo, Sticky
from extproc.policyfile import (
    circuit_breaker,
    endpoints,
    load_balancer,
    picking,
    quantities_and_durations,
    rollout,
    slo,
    values,
    versions,
    weights_from,
)
from extproc.policyfile import custom_metrics as custom
from extproc.policyfile.fields import Field, Fields, suggestion
from extproc.rollout.steps import in_force
from extproc.yamldoc import Scalar, quoted

DEFAULT_RETRY_RATIO, DEFAULT_RETRIES_PER_SECOND = 0.2, 10
"""Linkerd's own defaults of a retry budget."""


_HOMES = {
    **dict.fromkeys(("timeout", "retryBudget", "circuitBreaker"), "trafficManagement"),
    **dict.fromkeys(("slo", "customMetrics", "observe", "sampling"), "observability"),
    **dict.fromkeys(("endpoints", "weight", "match", "mirror", "modelRewrite", "gpuPools"), "versions, in its version"),
    "maxBody": "limits",
}
"""Fields that belong below another one, and that people write beside it."""


def read(spec: Field | None, name: str, namespace: str) -> Policy:
    """The policy that ``spec`` declares; with defaults where it has errors. A rollout has not begun in it."""
    known = ("selector", "host", "port", "pathPrefixes", "models", "versions", "default", "sticky", "allowPin")
    more = ("onNoGpu", "onUnreadable", "onUnowned", "onVersionDown", "gpuRequirements", "trafficManagement")
    rest = ("observability", "limits", "rollout", "weightsFrom", "loadBalancer", "picking")
    fields = spec.fields(*known, *more, *rest, homes=_HOMES) if spec else None
    if fields is None:
        return Policy(name, namespace, models=())
    selector = fields.optional("selector", _selector, ())
    timeout, budget, breaker = fields.optional("trafficManagement", _traffic, (None, None, None))
    custom_metrics, objectives, sampling = fields.optional("observability", _observability, ((), None, None))
    # A policy with bad `models` owns none: the default "*" would clash with other policies for no reason.
    policy = Policy(
        name=name,
        namespace=namespace,
        selector=selector,
        host=fields.optional("host", endpoints.host, "") or dict(selector).get("app", "") or name,
        port=fields.optional("port", endpoints.port, 8080),
        models=fields.optional("models", _models, () if "models" in fields else ("*",)),
        versions=fields.optional("versions", lambda f: versions.read(f, rollout.new_version(fields.field)), ()),
        sticky=fields.optional("sticky", _sticky, None),
        allow_pin=fields.optional("allowPin", Field.boolean, False),
        reject_without_gpu=fields.optional("onNoGpu", lambda f: f.choice("reject", "ignore"), "reject") == "reject",
        reject_unreadable=fields.optional("onUnreadable", lambda f: f.choice("pass", "reject"), "pass") == "reject",
        reject_unowned=fields.optional("onUnowned", lambda f: f.choice("pass", "reject"), "pass") == "reject",
        fails_over=fields.optional("onVersionDown", lambda f: f.choice("failover", "fail"), "failover") == "failover",
        gpu=fields.optional("gpuRequirements", _requirement, None),
        timeout=timeout,
        retry_budget=budget,
        breaker=breaker,
        custom_metrics=custom_metrics,
        slo=objectives,
        sampling=sampling,
        body_limit=fields.optional("limits", _limits, DEFAULT_BODY_LIMIT),
        path_prefixes=fields.optional("pathPrefixes", _prefixes, ()),
        default=fields.optional("default", values.name, ""),
        rollout=fields.optional("rollout", rollout.read, None),
        weights_from=fields.optional("weightsFrom", weights_from.read, None),
        load_balancer=fields.optional("loadBalancer", load_balancer.read, LEAST_REQUEST),
        picking=fields.optional("picking", picking.read, None),
    )
    if fields.field.at("versions").clean:
        _check_version_choice(fields, policy)
        circuit_breaker.check(fields.field, policy)
        rollout.check(fields.field, policy)
        weights_from.check(fields.field, policy)
    return in_force(policy, None)


def _selector(field: Field) -> tuple[tuple[str, str], ...] | None:
    fields = field.fields("matchLabels")
    return fields.required("matchLabels", values.labels, "write matchLabels: {app: my-app}") if fields else None


def _models(field: Field) -> tuple[str, ...]:
    return field.distinct(values.model_pattern, "model", minimum=1)


def _prefixes(field: Field) -> tuple[str, ...]:
    return field.distinct(values.path_prefix, "prefix", minimum=1)


def _requirement(field: Field) -> gpu.Requirement | None:
    fields = field.fields("minMemory", "architecture")
    if fields is None:
        return None
    return gpu.Requirement(
        fields.optional("architecture", values.gpu_word, ""),
        fields.optional("minMemory", quantities_and_durations.memory, 0),
    )


def _sticky(field: Field) -> Sticky | None:
    if isinstance(field.node, Scalar) and field.node.tag == "str":
        field.error("is not a mapping", f"write {{header: {field.node.text}}}, or name a cookie or a place in the body")
        return None
    fields = field.fields("header", "cookie", "body")
    if fields is None:
        return None
    given = [name for name in ("header", "cookie", "body") if name in fields]
    if len(given) != 1:
        message = f"has {' and '.join(given)}" if given else "names nothing"
        field.error(message, "give exactly one of header, cookie and body")
    return Sticky(
        fields.optional("header", values.header_name, ""),
        fields.optional("cookie", values.cookie_name, ""),
        fields.optional("body", values.pointer, ()),
    )


def _traffic(field: Field) -> tuple[float | None, RetryBudget | None, CircuitBreaker | None] | None:
    fields = field.fields("timeout", "retryBudget", "circuitBreaker")
    if fields is None:
        return None
    return (
        fields.optional("timeout", quantities_and_durations.duration, None),
        fields.optional("retryBudget", _budget, None),
        fields.optional("circuitBreaker", circuit_breaker.read, None),
    )


def _budget(field: Field) -> RetryBudget | None:
    fields = field.fields("retryRatio", "minRetriesPerSecond")
    if fields is None:
        return None
    return RetryBudget(
        fields.optional("retryRatio", lambda f: f.number(0, 1), DEFAULT_RETRY_RATIO),
        fields.optional("minRetriesPerSecond", lambda f: f.integer(0, 1_000_000), DEFAULT_RETRIES_PER_SECOND),
    )


def _observability(field: Field) -> tuple[tuple[CustomMetric, ...], Slo | None, float | None] | None:
    fields = field.fields("customMetrics", "slo", "observe", "sampling")
    if fields is None:
        return None
    observe = fields.optional("observe", lambda f: f.choice("adaptive", "full"), "")
    if observe and "sampling" in fields:
        field.error("has observe and sampling", "give one of them")
    return (
        fields.optional("customMetrics", custom.read, ()),
        fields.optional("slo", slo.read, None),
        1.0 if observe == "full" else fields.optional("sampling", lambda f: f.number(0, 1), None),
    )


def _limits(field: Field) -> int | None:
    fields = field.fields("maxBody")
    return fields.optional("maxBody", quantities_and_durations.body_size, DEFAULT_BODY_LIMIT) if fields else None


def _check_version_choice(fields: Fields, policy: Policy) -> None:
    """Whether every version can be chosen, and every way to choose one has versions."""
    if not policy.versions:
        if policy.allow_pin:
            fields.field.at("allowPin").warn("there are no versions to pin", "declare versions, or remove allowPin")
        if policy.sticky:
            fields.field.at("sticky").warn("there are no versions to stay on", "declare versions, or remove sticky")
    if policy.default:
        _check_default(fields.field.at("default"), policy)
    said = {"rollout": policy.rollout, "weightsFrom": policy.weights_from}
    if any(name in fields and value is None for name, value in said.items()):
        return  # which version it means is not known
    for i, version in enumerate(policy.versions):
        breaker = policy.breaker.fallback_version if policy.breaker else ""
        routed = dict(policy.weights_from.backends) if policy.weights_from else ()
        chosen = (policy.default, policy.rollout.to if policy.rollout else "", breaker, *routed)
        unreachable = not version.weight and not version.match and not version.mirror and version.name not in chosen
        if unreachable and not policy.allow_pin:
            message = f"nothing can choose the version {version.name}: its weight is 0"
            fields.field.at("versions", i).warn(message, "give it a weight or a match, or set allowPin: true")


def _check_default(field: Field, policy: Policy) -> None:
    if not policy.versions:
        field.error("there are no versions", "declare versions, or remove default")
    elif any(version.name == policy.default for version in policy.mirrors):
        field.error(f"the version {policy.default} is a mirror: it answers nobody", "name a version that answers")
    elif policy.default not in policy.by_name:
        field.error(
            f"no version named {quoted(policy.default)} is declared", suggestion(policy.default, policy.by_name)
        )

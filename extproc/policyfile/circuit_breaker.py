"""``trafficManagement.circuitBreaker`` of a policy."""

from __future__ import annotations

from extproc.policy.circuit_breaker import DEFAULT_MAX, DEFAULT_MIN, CircuitBreaker
from extproc.policy.snapshot import Policy
from extproc.policyfile import values
from extproc.policyfile.fields import Field, suggestion
from extproc.yamldoc import Scalar, quoted

MOST = 1_000_000
"""Requests at a time that can be written."""


def read(field: Field) -> CircuitBreaker | None:
    """The breaker in the mapping ``field``; None where it is turned off."""
    fields = field.fields("adaptive", "minConcurrency", "maxConcurrency", "fallback")
    if fields is None:
        return None
    remedy = "write adaptive: true; limits that do not adapt are Envoy's own"
    adaptive = fields.required("adaptive", Field.boolean, remedy)
    most = fields.optional("maxConcurrency", lambda f: f.integer(1, MOST), DEFAULT_MAX)
    least = fields.optional("minConcurrency", lambda f: f.integer(1, MOST), min(DEFAULT_MIN, most))
    version, policy = fields.optional("fallback", _fallback, ("", ""))
    if least > most:
        message = f"{least} is more than maxConcurrency, {most}"
        field.at("minConcurrency").error(message, "give the smaller number here")
    if adaptive is False and "fallback" in fields:
        field.at("fallback").warn("has no effect: adaptive is false", "write adaptive: true, or remove fallback")
    return CircuitBreaker(least, most, version, policy) if adaptive else None


def check(spec: Field, policy: Policy) -> None:
    """The breaker against its policy."""
    breaker = policy.breaker
    if breaker is None:
        return
    if policy.sampling == 0:
        message = "nothing is observed (observability.sampling: 0), so that nothing tells how the servers are"
        spec.at("trafficManagement", "circuitBreaker").error(message, "let some answers be observed, or remove it")
    name, field = breaker.fallback_version, spec.at("trafficManagement", "circuitBreaker", "fallback", "version")
    if not name:
        return
    if [version.name for version in policy.answering] == [name]:
        message = f"{name} is the only version that answers: it can't answer in its own place"
        field.warn(message, "name another version, or a policy: fallback: {policy: small}; or remove fallback")
    elif name in policy.by_name:
        return
    elif any(version.name == name for version in policy.mirrors):
        field.error(f"the version {name} is a mirror: it answers nobody", "name a version that answers")
    else:
        field.error(f"no version named {quoted(name)} is declared", suggestion(name, policy.by_name))


def _fallback(field: Field) -> tuple[str, str] | None:
    if isinstance(field.node, Scalar) and field.node.tag == "str":
        field.error("is not a mapping", f"write {{version: {field.node.text}}}, or {{policy: NAME}}")
        return None
    fields = field.fields("version", "policy")
    if fields is None:
        return None
    if ("version" in fields) == ("policy" in fields):
        what = "has version and policy" if "version" in fields else "names nothing"
        field.error(what, "give one of them: fallback: {version: v1}, or {policy: small}")
    return fields.optional("version", values.name, ""), fields.optional("policy", values.name, "")

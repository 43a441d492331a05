"""Which of several policies has what only one can have: the oldest, as in the Gateway API. Pure.

Source: Gateway API, "Conflict Resolution" of its API guidelines: the oldest object by its creation timestamp wins, then
the first by ``namespace/name``. What has lost changes nothing, and its status says why.

All of a policy wins or loses. One whose change has lost goes on with the spec that was in force, if nobody else has
taken what that one needs.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator, Mapping
from typing import Any

import msgspec

from extproc.errors import Problem
from extproc.policy.snapshot import Policy
from extproc.telemetry.custom_series import samples
from extproc.yamldoc import quoted


class Candidate(msgspec.Struct, frozen=True):
    """A policy that is right by itself, with the spec it was read from."""

    policy: Policy
    spec: Mapping[str, Any]


class Contender(msgspec.Struct, frozen=True):
    """An object of kind ModelInferencePolicy."""

    namespace: str
    name: str
    created: str
    """``metadata.creationTimestamp``, which sorts as text (RFC 3339, UTC, whole seconds)."""
    wanted: Candidate | None
    """None: its spec is not right by itself."""
    in_force: Candidate | None = None
    """What to go on with where ``wanted`` can't be had."""

    @property
    def key(self) -> tuple[str, str]:
        """Namespace and name."""
        return self.namespace, self.name


class Verdict(msgspec.Struct, frozen=True):
    """What becomes of an object."""

    chosen: Candidate | None
    """What it goes on with; None: nothing."""
    conflicts: tuple[Problem, ...] = ()
    """Why ``wanted`` was not chosen, beside what is wrong with it by itself."""


class _Claim(msgspec.Struct, frozen=True):
    """``subject`` is for ``value`` alone: who claims another one comes too late."""

    subject: tuple[str, Hashable]
    value: Hashable
    path: str
    message: str
    """What the holder, ``{holder}`` in it, has already."""
    remedy: str


def decide(contenders: Iterable[Contender], *, one_port_a_host: bool) -> dict[tuple[str, str], Verdict]:
    """The verdict on each object, oldest first.

    ``one_port_a_host``: policies of one host need the same port and the same pods, as on Linkerd.
    """
    held: dict[tuple[str, Hashable], tuple[Hashable, str]] = {}
    verdicts = {}
    for contender in sorted(contenders, key=lambda c: (c.created, c.key)):
        who = f"{contender.namespace}/{contender.name}"
        conflicts: tuple[Problem, ...] = ()
        chosen = None
        for candidate in (contender.wanted, contender.in_force):
            if candidate is None:
                continue
            claims = list(_claims(candidate, who, one_port_a_host=one_port_a_host))
            lost = tuple(_conflicts(claims, held, who))
            if not lost:
                held |= {claim.subject: (claim.value, who) for claim in claims if claim.subject not in held}
                chosen = candidate
                break
            if candidate is contender.wanted:
                conflicts = lost
        verdicts[contender.key] = Verdict(chosen, conflicts)
    return verdicts


def _conflicts(
    claims: Iterable[_Claim], held: Mapping[tuple[str, Hashable], tuple[Hashable, str]], who: str
) -> Iterator[Problem]:
    for claim in claims:
        value, holder = held.get(claim.subject, (claim.value, ""))
        if value != claim.value:
            yield Problem(who, 0, 0, claim.path, claim.message.format(holder=holder), claim.remedy)


def _claims(candidate: Candidate, who: str, *, one_port_a_host: bool) -> Iterator[_Claim]:
    policy, spec = candidate.policy, candidate.spec
    name_taken = f"the name {policy.name} is the policy {{holder}}'s, which is older"
    yield _Claim(
        ("name", policy.name), who, "metadata.name", name_taken, "choose another name: metrics have no namespaces"
    )
    for i, model in enumerate(policy.models):
        path = f"spec.models[{i}]" if "models" in spec else "spec.models"
        default = "" if "models" in spec else " (what a policy without models owns)"
        # A model's name may hold braces.
        message = _escaped(f"the models {quoted(model)}{default} are the policy ") + "{holder}'s, which is older"
        yield _Claim(("model", model), who, path, message, "give each policy models of its own")
    if "onUnreadable" in spec:
        message = "the policy {holder}, which is older, has another, and whose such a request is, is not known"
        remedy = "write the same in both, or in one of them only: it holds for all"
        yield _Claim(("onUnreadable", ""), policy.reject_unreadable, "spec.onUnreadable", message, remedy)
    yield from _metric_claims(policy)
    if one_port_a_host:
        yield from _host_claims(policy)


def _metric_claims(policy: Policy) -> Iterator[_Claim]:
    for i, metric in enumerate(policy.custom_metrics):
        path = f"spec.observability.customMetrics[{i}]"
        message = f"the metric {metric.name} is another one in the policy {{holder}}, which is older"
        yield _Claim(("metric", metric.name), metric, path, message, "make the two the same, or choose another name")
        for sample in sorted(samples(metric.name, metric.type)):
            mixed = f"Prometheus would mix up {metric.name} and a metric of the policy {{holder}}, which is older"
            yield _Claim(("sample", sample), metric.name, path, mixed, "choose another name")


def _host_claims(policy: Policy) -> Iterator[_Claim]:
    host = policy.host.removesuffix(".cluster.local").removesuffix(".svc")
    service = host if "." in host else f"{host}.{policy.namespace}"
    other = f"the policy {{holder}}, which is older, has another for the host {service}"
    remedy = "write the same in both, or give each a host of its own: on Linkerd a Service is rendered for one"
    yield _Claim(("port", service), policy.port, "spec.port", other, remedy)
    if policy.selector:
        yield _Claim(("selector", service), policy.selector, "spec.selector", other, remedy)


def _escaped(text: str) -> str:
    return text.replace("{", "{{").replace("}", "}}")

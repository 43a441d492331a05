"""``weightsFrom`` of a policy: the route of a cluster that says the weights, as tools for canaries write them."""

from __future__ import annotations

import re

from extproc.policy.snapshot import Policy
from extproc.policy.weights_from import KINDS, WeightsFrom
from extproc.policyfile.fields import Field, suggestion
from extproc.yamldoc import quoted

_NAME = re.compile(r"[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?")


def read(field: Field) -> WeightsFrom | None:
    """What the mapping ``field`` says; None where it names no route, or no backend."""
    fields = field.fields(*KINDS, "backends")
    if fields is None:
        return None
    given = [name for name in KINDS if name in fields]
    if len(given) != 1:
        message = "names two routes" if given else "names no route"
        field.error(message, "give one of httpRoute and virtualService")
    names = {kind: fields.optional(kind, _name, None) for kind in given}
    remedy = "say what the route calls each version: backends: {v1: chat-primary, v2: chat-canary}"
    backends = fields.required("backends", _backends, remedy)
    if len(given) != 1 or not backends or (name := names[given[0]]) is None:
        return None
    return WeightsFrom(KINDS[given[0]], name, backends)


def check(spec: Field, policy: Policy) -> None:
    """The route against the policy's versions and rollout."""
    if policy.weights_from is None:
        return
    field = spec.at("weightsFrom")
    if policy.rollout:
        field.error("the rollout says the weights, too", "remove one of weightsFrom and rollout")
    for name, _ in policy.weights_from.backends:
        if name not in policy.by_name:
            field.at("backends", name).error(
                f"no version named {quoted(name)} answers", suggestion(name, policy.by_name)
            )


def check_unfollowed(spec: Field, policy: Policy) -> None:
    """Tells who has the policy in a file that nobody follows the route."""
    if policy.weights_from is not None:
        message = "only the controller of a cluster follows routes: the weights are those that stand here"
        spec.at("weightsFrom").warn(message, "apply the policy to a cluster, or remove weightsFrom")


def _name(field: Field) -> str | None:
    return field.text_matching(_NAME, "the name of an object, such as chat-canary")


def _backends(field: Field) -> tuple[tuple[str, str], ...] | None:
    entries = field.entries()
    read = [(text, name, value) for text, _, value in entries if (name := _name(value)) is not None]
    if not entries and field.clean:
        field.error("is empty", "name at least one version")
    known: dict[str, str] = {}
    for text, name, value in read:
        if name in known:
            value.error(f"is what {known[name]} has, too", "give each version a backend of its own")
        known.setdefault(name, text)
    return tuple((text, name) for text, name, _ in read) if read and field.clean else None

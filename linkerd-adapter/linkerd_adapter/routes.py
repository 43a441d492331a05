"""HTTPRoutes for a plan: exact rules for each version first, then one by weight for what has no version. Pure.

Only fields of Gateway API 1.2.1, the oldest that Linkerd 2.20 takes.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from fractions import Fraction

from extproc import headers
from extproc.policy.snapshot import ModelMatch, Policy, Snapshot
from extproc.render.document import Doc
from linkerd_adapter.names import Service
from linkerd_adapter.plan import (
    MAX_BACKENDS,
    Apex,
    Backend,
    Place,
    Plan,
    UnrenderableError,
)
from linkerd_adapter.route_timeouts_and_retries import timeouts_and_retries
from linkerd_adapter.weights import weighted_backends, whole_weights

MAX_RULES = 16
"""Of one HTTPRoute, by the CRD; more are spread over several."""
MAX_VALUE_LENGTH = 4096
"""Characters of a header's value in a match, by the CRD."""
Conditions = tuple[Doc, ...]


def http_routes(snapshot: Snapshot, plan: Plan, apex: Apex) -> list[Doc]:
    """The HTTPRoutes of one apex, in the order in which Linkerd tries them; none where nothing serves it."""
    rules = list(_rules(snapshot, plan, apex))
    parts = [rules[start : start + MAX_RULES] for start in range(0, len(rules), MAX_RULES)]
    return [_route(apex, number, part) for number, part in enumerate(parts, 1)]


def route_name(service: Service, number: int) -> str:
    """Of the route with this number, from 1. Among routes of one age Linkerd goes by name, so names sort as numbers."""
    return service.name if number == 1 else f"{service.name}-{number:03}"


def _route(apex: Apex, number: int, rules: Sequence[Doc]) -> Doc:
    service = apex.service
    parent = {"group": "", "kind": "Service", "name": service.name, "namespace": service.namespace, "port": apex.port}
    found = timeouts_and_retries(apex.policies)
    metadata: Doc = {"name": route_name(service, number), "namespace": service.namespace}
    return {
        "apiVersion": "gateway.networking.k8s.io/v1",
        "kind": "HTTPRoute",
        "metadata": metadata | ({"annotations": found} if found else {}),
        "spec": {"parentRefs": [parent], "rules": list(rules)},
    }


def _rules(snapshot: Snapshot, plan: Plan, apex: Apex) -> Iterator[Doc]:
    """Where several policies share an apex, each of their rules also asks for the model."""
    owners = list(_models_of_policies(snapshot, apex)) if len(apex.policies) > 1 else [(apex.policies[0], ())]
    for policy, model in owners:
        for place in plan.places[policy.name]:
            if any(version.name == place.target.version for version in policy.mirrors):
                continue
            for chosen in _target_conditions(place, among_others=bool(model)):
                if chosen:
                    for of_grpc, grpc in _protocols([place]):
                        shares = whole_weights([(b, Fraction(b.size)) for b in place.serving(grpc=grpc)])
                        yield _rule(policy, (*model, *chosen, *of_grpc), shares)
        if model:
            yield from _fallback(plan, policy, model)
    last = next((policy for policy, model in owners if not model), apex.policies[0])
    yield from _fallback(plan, last, ())


def _fallback(plan: Plan, policy: Policy, model: Conditions) -> Iterator[Doc]:
    for of_grpc, grpc in _protocols(plan.places[policy.name]):
        if shares := weighted_backends(plan, policy, grpc=grpc):
            yield _rule(policy, (*model, *of_grpc), shares)


def _protocols(places: Sequence[Place]) -> Iterator[tuple[Conditions, bool]]:
    """Where gRPC has Services of its own in one of ``places``, a rule for its calls comes first."""
    if any(place.grpc_backends for place in places):
        yield (_header("content-type", "^application/grpc.*$", regex=True),), True
    yield (), False


def _models_of_policies(snapshot: Snapshot, apex: Apex) -> Iterator[tuple[Policy, Conditions]]:
    """Each policy with a condition for its models, in order of precedence: exact names first, one policy at a time."""
    exact: dict[str, list[str]] = {}
    globs: list[ModelMatch] = []
    for match in snapshot.patterns:
        if match.policy in apex.policies:
            if "*" in match.pattern:
                globs.append(match)
            else:
                exact.setdefault(match.policy.name, []).append(headers.safe_value(match.pattern))
    for policy, models in exact.items():
        for model in _model_conditions(models):
            yield snapshot.by_name[policy], (model,)
    for match in globs:
        regex = ".*".join(re.escape(headers.safe_value(part)) for part in match.pattern.split("*"))
        model = _header(headers.MODEL_NAME, f"^(?:{regex})$", regex=True)
        yield match.policy, (model,) if match.pattern.strip("*") else ()


def _model_conditions(models: Sequence[str]) -> Iterator[Doc]:
    """Conditions that hold for one of ``models`` each, as few as their length allows."""
    some: list[str] = []
    for model in models:
        if some and len(_alternatives([*some, model])) > MAX_VALUE_LENGTH:
            yield _model_condition(some)
            some = []
        some.append(model)
    yield _model_condition(some)


def _model_condition(models: Sequence[str]) -> Doc:
    if len(models) == 1:
        return _header(headers.MODEL_NAME, models[0])
    return _header(headers.MODEL_NAME, _alternatives(models), regex=True)


def _alternatives(models: Sequence[str]) -> str:
    """Anchored, since Linkerd takes the first alternative that fits and then wants it to be all of the value."""
    return f"^(?:{'|'.join(map(re.escape, models))})$"


def _target_conditions(place: Place, *, among_others: bool) -> Iterator[Conditions]:
    """The headers by which the processor says that it chose this place; several alternatives where there are."""
    target = place.target
    pool = (_header(headers.GPU_POOL, target.pool),) if target.pool else ()
    if target.version:
        yield (_header(headers.MODEL_VERSION, headers.safe_value(target.version)), *pool)
        return
    if among_others:
        # A version that the request itself names is passed on. With it the request would have as many headers as the
        # rules of a policy with a wider pattern ask for, and the most headers win.
        yield (_header(headers.MODEL_VERSION, "^.+$", regex=True), *pool)
    yield pool


def _header(name: str, value: str, *, regex: bool = False) -> Doc:
    return {"type": "RegularExpression" if regex else "Exact", "name": name, "value": value}


def _rule(policy: Policy, conditions: Conditions, shares: Sequence[tuple[Backend, int]]) -> Doc:
    if len(shares) > MAX_BACKENDS:
        raise UnrenderableError(
            f"policy {policy.name}: its requests are spread over {len(shares)} Services, and a rule of an HTTPRoute "
            f"may have {MAX_BACKENDS}; name a default version, or fewer GPU pools"
        )
    matches = {"matches": [{"path": {"type": "PathPrefix", "value": "/"}, "headers": list(conditions)}]}
    return (matches if conditions else {}) | {"backendRefs": [_ref(backend, weight) for backend, weight in shares]}


def _ref(backend: Backend, weight: int) -> Doc:
    service = backend.service
    ref = {"group": "", "kind": "Service", "name": service.name, "namespace": service.namespace}
    return ref | {"port": backend.port, "weight": weight}

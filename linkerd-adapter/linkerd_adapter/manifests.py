"""Everything for one set of policies: the gateway, Services, HTTPRoutes, and who may call whom. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

import msgspec

from extproc.policy.load_balancer import LEAST_REQUEST
from extproc.policy.snapshot import Policy, Snapshot
from extproc.render.document import Doc
from linkerd_adapter import plan
from linkerd_adapter.authorization import authorizations
from linkerd_adapter.gateway import H2C, Options, gateway, labels
from linkerd_adapter.names import Service
from linkerd_adapter.plan import Addresses, Plan, UnrenderableError
from linkerd_adapter.routes import MAX_RULES, http_routes
from linkerd_adapter.services import MODE, has_circuit_breaker, services

ROLLOUTS = "rollouts.json"
"""The file that tells processors how far rollouts have come, in the directory of their policies."""


class Rendered(msgspec.Struct, frozen=True):
    """Manifests in the order in which they are to be applied, and what their reader should know."""

    manifests: tuple[Doc, ...]
    notes: tuple[str, ...]


def render(snapshot: Snapshot, policies: Mapping[str, str], options: Options) -> Rendered:
    """``policies``: the texts of the policy files, by name, and of ``ROLLOUTS``, if any. Raises ``UnrenderableError``
    for what Linkerd can't do.
    """
    made = plan.make(snapshot, options.gateway.namespace)
    _check_loops(made, options.gateway)
    manifests = [
        # Services before the routes that need them; the gateway last, when its requests have somewhere to go.
        *(doc for apex in made.apexes for doc in services(made, apex, options.target_port, options.app_protocol)),
        *(doc for apex in made.apexes for doc in http_routes(snapshot, made, apex)),
        *authorizations(made, options.gateway, options.target_port, audit=options.audit),
        *gateway(snapshot, made, files(policies), options),
    ]
    _check_names(manifests)
    return Rendered(tuple(manifests), tuple(_notes(snapshot, made, options)))


def namespace(snapshot: Snapshot) -> str:
    """The one namespace of all policies, for the gateway. Raises ``UnrenderableError`` where there are several."""
    found = sorted(plan.namespaces(snapshot, "default")) or ["default"]
    if len(found) > 1:
        raise UnrenderableError(f"the policies are in {' and '.join(found)}; say with --namespace where the gateway is")
    return found[0]


def files(policies: Mapping[str, str]) -> dict[str, str]:
    """The same files by names that a ConfigMap may have, in their order; ``ROLLOUTS`` keeps its name."""
    found = {ROLLOUTS: policies[ROLLOUTS]} if ROLLOUTS in policies else {}
    policies = {path: text for path, text in policies.items() if path != ROLLOUTS}
    digits = len(str(len(policies)))
    for number, (path, text) in enumerate(policies.items()):
        name = re.sub(r"[^A-Za-z0-9_.-]+", "-", path.rpartition("/")[2]).lstrip(".-") or "policy.yaml"
        name = name if name.endswith((".yaml", ".yml")) else f"{name}.yaml"
        found[f"{number:0{digits}}-{name}" if len(policies) > 1 else name] = text
    return found


def _check_loops(made: Plan, own: Service) -> None:
    """What leads back to the gateway would go round for ever."""
    for apex in made.apexes:
        if apex.service == own:
            who = ", ".join(policy.name for policy in apex.policies)
            raise UnrenderableError(f"policy {who}: its host {own} is the gateway itself; choose another --name")
        if apex.labels and apex.service.namespace == own.namespace and set(apex.labels) <= labels(own).items():
            who = ", ".join(policy.name for policy in apex.policies)
            raise UnrenderableError(f"policy {who}: its selector finds the gateway's own pods; name the model servers'")
    for name, places in made.places.items():
        if any(backend.service == own for place in places for backend in place.all_backends):
            raise UnrenderableError(f"policy {name}: its endpoint {own} is the gateway itself; name the model servers")


def _check_names(manifests: list[Doc]) -> None:
    known: set[tuple[str, str, str]] = set()
    for doc in manifests:
        key = doc["kind"], doc["metadata"]["namespace"], doc["metadata"]["name"]
        if key in known:
            raise UnrenderableError(
                f"{key[0]} {key[2]}.{key[1]} would be declared twice; rename a policy, a version or a host"
            )
        known.add(key)


def _notes(snapshot: Snapshot, made: Plan, options: Options) -> Iterator[str]:
    if options.app_protocol == H2C:
        yield f"{H2C}: the gateway speaks HTTP/2 to every apex, and WebSockets (HTTP/1.1 upgrades) do not pass"
    for apex in made.apexes:
        if not apex.labels:
            exists = "declared without one" if made.declares(apex) else "taken to exist"
            yield (
                f"{apex.service}: no policy of this host has a selector, so the Service is {exists}, and nothing keeps "
                "clients from the model servers that bypass the gateway"
            )
        if has_circuit_breaker(apex) and not made.declares(apex):
            yield f"{apex.service}: circuit breaking is up to you; annotate the Service with {MODE}: consecutive"
        if len(http_routes(snapshot, made, apex)) > 1:
            yield f"{apex.service}: more than {MAX_RULES} rules, which are spread over several HTTPRoutes"
        for policy in apex.policies:
            yield from (f"policy {policy.name}: {text}" for text in _of_policy(made, policy))


def _of_policy(made: Plan, policy: Policy) -> Iterator[str]:
    places = made.places[policy.name]
    if not places:
        yield "no GPU pool fits any version: the processor answers 503, and there is no HTTPRoute"
    if policy.mirrors:
        names = ", ".join(version.name for version in policy.mirrors)
        yield f"Linkerd copies no requests; the gateway's Envoy sends those for {names}"
    if policy.rollout and policy.rollout_state is None:
        yield f"manifests do not drive its rollout; without the controller {policy.rollout.to} gets nothing"
    if policy.rewrites_model:
        yield "modelRewrite is done in the gateway: who bypasses it sends the model as it is"
    if policy.retry_budget:
        yield "routes of Linkerd have no retry budget: 502 and 503 are retried once, requests above 64 KiB never"
    if policy.timeout and not all(other.timeout for other in made.apex_of(policy).policies):
        yield "shares its host with a policy that has no timeout, so that Linkerd gets none"
    asked = (place.target.load_balancer for place in places)
    if balancers := dict.fromkeys(str(balancer) for balancer in asked if balancer != LEAST_REQUEST):
        yield (
            f"Linkerd's proxies spread requests by the latency of each server, and know no {', '.join(balancers)}; a "
            "gateway of `extproc render envoy` does"
        )
    if policy.picking:
        yield (
            "Linkerd's proxies do not look at which server was picked, and choose by latency; a meshed gateway of "
            "`extproc render envoy` reaches picked pods by their addresses (docs/picking.md)"
        )
    apex = made.apex_of(policy)
    for backend in dict.fromkeys(backend for place in places for backend in place.all_backends):
        if isinstance(backend.behind, Addresses) and backend.behind.endpoints:
            yield f"{backend.service} holds fixed addresses; Linkerd speaks plain HTTP to what is not in the mesh"
        elif backend.behind is None and backend.service != apex.service and apex.labels:
            yield f"nothing here keeps clients that bypass the gateway from the pods of {backend.service}"

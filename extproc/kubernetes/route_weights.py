"""The weights that a route of a cluster has for a policy's versions. Pure.

Tools for canaries write weights into rules for all requests, and add rules for some: Flagger for a cookie or for the
headers of an A/B test, Argo Rollouts for headers (``pkg/router`` of fluxcd/flagger; Argo Rollouts' documentation,
"Traffic management"). So rules count that take requests whatever their headers are: the first one that names every
backend, else the first that names any.

Sources of defaults: Gateway API, HTTPBackendRef (a weight is 1); Istio, HTTPRouteDestination (0, or all where it is
alone).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from extproc.kubernetes.api import Object, Resource
from extproc.policy.weights_from import HTTP_ROUTE, VIRTUAL_SERVICE, WeightsFrom

ROUTES = {
    HTTP_ROUTE: Resource("gateway.networking.k8s.io", "v1", "httproutes", HTTP_ROUTE),
    VIRTUAL_SERVICE: Resource("networking.istio.io", "v1", "virtualservices", VIRTUAL_SERVICE),
}
MAX_WEIGHT = 1_000_000
_OF_SOME = ("headers", "withoutHeaders", "queryParams", "sourceLabels", "sourceNamespace")
"""What a match has that is not for all requests."""

Weights = dict[str, int]


def weights_of(route: Object, wanted: WeightsFrom) -> Weights | None:
    """The weight of each version that ``wanted`` names; None where the route has none for them.

    ``route``: as the API server has it, which holds it against no more than its kind's schema.
    """
    namespace = str(route["metadata"].get("namespace", ""))
    spec = _mapping(route.get("spec"))
    rules = _http_route(spec, namespace) if wanted.kind == HTTP_ROUTE else _virtual_service(spec)
    found = [dict(_of_rule(rule, wanted, namespace)) for rule in rules]
    whole = [weights for weights in found if len(weights) == len(wanted.backends)]
    weights = next(iter(whole or [each for each in found if each]), None)
    if not weights or not any(weights.values()):
        return None
    return {version: min(weights.get(version, 0), MAX_WEIGHT) for version, _ in wanted.backends}


def with_weights(spec: Mapping[str, Any], weights: Mapping[str, int]) -> dict[str, Any]:
    """A policy's spec with these weights; a version that has none, and answers, gets nothing by weight."""
    versions = [
        version if "mirror" in version else {**version, "weight": weights.get(version["name"], 0)}
        for version in spec["versions"]
    ]
    return {**spec, "versions": versions}


_Rule = Sequence[tuple[str, str, int]]
"""Of each destination its host, its subset or nothing, and its weight."""


def _of_rule(rule: _Rule, wanted: WeightsFrom, namespace: str) -> Iterator[tuple[str, int]]:
    for version, name in wanted.backends:
        hosts = {name, *(f"{name}.{namespace}{suffix}" for suffix in ("", ".svc", ".svc.cluster.local"))}
        weights = [weight for host, subset, weight in rule if (subset == name if subset else host in hosts)]
        if weights:
            yield version, sum(weights)


def _http_route(spec: Mapping[str, Any], namespace: str) -> Iterator[_Rule]:
    for rule in _mappings(spec.get("rules")):
        if _takes_all(rule.get("matches")):
            # What has the same name in another namespace is another Service.
            listed = _mappings(rule.get("backendRefs"))
            backends = [each for each in listed if (each.get("namespace") or namespace) == namespace]
            yield [(str(each.get("name")), "", _weight(each.get("weight", 1))) for each in backends]


def _virtual_service(spec: Mapping[str, Any]) -> Iterator[_Rule]:
    for rule in _mappings(spec.get("http")):
        if _takes_all(rule.get("match")):
            routes = list(_mappings(rule.get("route")))
            default = 100 if len(routes) == 1 else 0
            destinations = [(_mapping(each.get("destination")), each.get("weight", default)) for each in routes]
            yield [(str(d.get("host")), str(d.get("subset") or ""), _weight(weight)) for d, weight in destinations]


def _takes_all(matches: object) -> bool:
    """Whether requests are taken whatever their headers are: there is no match, or one that asks for none."""
    found = list(_mappings(matches))
    return not found or any(not any(match.get(name) for name in _OF_SOME) for match in found)


def _mappings(found: object) -> Iterable[Mapping[str, Any]]:
    return (each for each in (found if isinstance(found, list) else ()) if isinstance(each, dict))


def _mapping(found: object) -> Mapping[str, Any]:
    return found if isinstance(found, dict) else {}


def _weight(found: object) -> int:
    return found if isinstance(found, int) and found > 0 else 0
